/** Gremlin for Monaco, the editor: colours, brackets, and what to suggest. */

import type { Monaco, MonacoEditor, monacoTypes } from '@grafana/ui';

import type { DataSource } from '../datasource';
import { Place, grammarOf, placeAt } from '../gremlin/completion';
import { chainOf, escaped, literal } from '../gremlin/text';
import { Words } from '../hub/answers';

export const LANGUAGE = 'skytrail-gremlin';

/** The data source that an editor asks, by its text's address. */
const asked = new Map<string, DataSource>();

/** Make the language known, once. */
export function registerLanguage(monaco: Monaco): void {
  if (monaco.languages.getLanguages().some((one) => one.id === LANGUAGE)) {
    return;
  }
  monaco.languages.register({ id: LANGUAGE });
  monaco.languages.setMonarchTokensProvider(LANGUAGE, COLOURS);
  monaco.languages.setLanguageConfiguration(LANGUAGE, BRACKETS);
  monaco.languages.registerCompletionItemProvider(LANGUAGE, {
    triggerCharacters: ['.', '(', ',', "'", '"', ' '],
    provideCompletionItems: async (model, position) => {
      const source = asked.get(model.uri.toString());
      return { suggestions: source ? await suggestions(monaco, source, model, position) : [] };
    },
  });
}

/** An editor asks a data source until it is disposed of. */
export function suggestFrom(editor: MonacoEditor, source: DataSource): void {
  const address = editor.getModel()?.uri.toString();
  if (address) {
    asked.set(address, source);
    editor.onDidDispose(() => asked.delete(address));
  }
}

const COLOURS: monacoTypes.languages.IMonarchLanguage = {
  defaultToken: '',
  tokenizer: {
    root: [
      [/\/\/.*$/, 'comment'],
      [/\$\{[^}]*\}|\[\[[^\]]*\]\]|\$\w+/, 'variable'],
      [/'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?/, 'string'],
      [/[+-]?\d[\w.]*/, 'number'],
      [/\b(NOW|FOREVER|ASC|DESC|TRUE|FALSE|asc|desc|true|false)\b/, 'constant'],
      [/\b[Gg]\b(?=\s*(\.|$))/, 'type'],
      [/[A-Za-z_]\w*(?=\s*\()/, 'keyword'],
      [/[A-Za-z_]\w*/, 'identifier'],
      [/[()[\]]/, '@brackets'],
      [/[.,]/, 'delimiter'],
    ],
  },
};

const PAIRS = [
  { open: '(', close: ')' },
  { open: "'", close: "'" },
  { open: '"', close: '"' },
];

const BRACKETS: monacoTypes.languages.LanguageConfiguration = {
  brackets: [['(', ')']],
  autoClosingPairs: PAIRS,
  surroundingPairs: PAIRS,
  comments: { lineComment: '//' },
};

type Items = monacoTypes.languages.CompletionItem[];

async function suggestions(
  monaco: Monaco,
  source: DataSource,
  model: monacoTypes.editor.ITextModel,
  position: monacoTypes.Position
): Promise<Items> {
  const text = model.getValue();
  const cursor = model.getOffsetAt(position);
  try {
    const words = await source.completions();
    const place = placeAt(text, cursor, words);
    if (!place) {
      return [];
    }
    const from = model.getPositionAt(place.start);
    const range = monaco.Range.fromPositions(from, position);
    const typed = text.slice(place.start, cursor);
    const found = await Promise.all(place.what.map((what) => LISTS[what](monaco, source, words, place, text, typed)));
    return found.flat().map((item, at) => ({ ...item, range, sortText: String(at).padStart(5, '0') }));
  } catch {
    return []; // the query itself will tell what is wrong with the hub
  }
}

type Listed = Array<Omit<monacoTypes.languages.CompletionItem, 'range'>>;
type List = (
  monaco: Monaco,
  source: DataSource,
  words: Words,
  place: Place,
  text: string,
  typed: string
) => Listed | Promise<Listed>;

const LISTS: Record<Place['what'][number], List> = {
  steps: (monaco, _, words, __, text) => calls(monaco, grammarOf(words, chainOf(text).dialect!).Steps, 'Method'),
  predicates: (monaco, _, words, __, text) =>
    calls(monaco, grammarOf(words, chainOf(text).dialect!).Predicates, 'Function'),
  keys: (monaco, _, words, place) => texts(monaco, words.Keys[place.owner], place, 'Field'),
  values: async (monaco, source, _, place, __, typed) =>
    texts(monaco, await source.valuesOfKey(place.key!, place.owner, typed), place, 'Value'),
};

type Kind = keyof typeof monacoTypes.languages.CompletionItemKind;

function calls(monaco: Monaco, found: Record<string, string[]>, kind: Kind): Listed {
  return Object.entries(found).map(([name, signatures]) => ({
    label: name,
    kind: monaco.languages.CompletionItemKind[kind],
    detail: signatures.map((one) => `(${one})`).join(' '),
    insertText: signatures.every((one) => one === '') ? `${name}()` : `${name}($1)`,
    insertTextRules: monaco.languages.CompletionItemInsertTextRule.InsertAsSnippet,
  }));
}

function texts(monaco: Monaco, found: string[], { quoted }: Place, kind: Kind): Listed {
  return found.map((one) => ({
    label: one,
    kind: monaco.languages.CompletionItemKind[kind],
    filterText: quoted ? one : literal(one),
    insertText: quoted ? escaped(one) : literal(one),
  }));
}
