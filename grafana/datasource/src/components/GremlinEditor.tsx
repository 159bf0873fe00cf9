import { CodeEditor, type MonacoEditor } from '@grafana/ui';
import React, { useCallback } from 'react';

import type { DataSource } from '../datasource';
import { LANGUAGE, registerLanguage, suggestFrom } from './language';

interface Props {
  value: string;
  datasource: DataSource;
  onChange: (value: string) => void;
  /** When somebody leaves it, or asks for it by Ctrl+S. */
  onRun: () => void;
}

const LINE = 18;
const MOST_LINES = 12;

/** Where Gremlin is written: colours, and what the hub knows as suggestions. */
export function GremlinEditor({ value, datasource, onChange, onRun }: Props) {
  const mounted = useCallback((editor: MonacoEditor) => suggestFrom(editor, datasource), [datasource]);
  const done = (text: string) => {
    if (text !== value) {
      onChange(text);
    }
    onRun();
  };
  const lines = Math.min(MOST_LINES, Math.max(2, value.split('\n').length + 1));
  return (
    <CodeEditor
      value={value}
      language={LANGUAGE}
      height={lines * LINE + 12}
      showMiniMap={false}
      showLineNumbers={false}
      monacoOptions={OPTIONS}
      onBeforeEditorMount={registerLanguage}
      onEditorDidMount={mounted}
      onChange={onChange}
      onBlur={done}
      onSave={done}
    />
  );
}

const OPTIONS = {
  fontSize: 13,
  lineHeight: LINE,
  folding: false,
  wordWrap: 'on',
  scrollBeyondLastLine: false,
  renderLineHighlight: 'none',
  overviewRulerLanes: 0,
  quickSuggestions: { strings: true, other: true, comments: false },
  suggestOnTriggerCharacters: true,
  fixedOverflowWidgets: true,
  padding: { top: 6, bottom: 6 },
} as const;
