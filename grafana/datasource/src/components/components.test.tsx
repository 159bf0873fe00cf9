import { DataSourceSettings, PluginMeta } from '@grafana/data';
import { act, fireEvent, render, screen } from '@testing-library/react';
import React, { useEffect, useState } from 'react';

import type { DataSource } from '../datasource';
import { plugin } from '../module';
import pluginJson from '../plugin.json';
import { EXAMPLES, KINDS, SkytrailOptions, SkytrailQuery, SkytrailSecrets } from '../types';
import { ConfigEditor } from './ConfigEditor';
import { QueryEditor } from './QueryEditor';

// Monaco wants a browser: the page in Chromium has it
jest.mock('./GremlinEditor', () => ({
  GremlinEditor: ({
    value,
    onChange,
    onRun,
  }: {
    value: string;
    onChange: (text: string) => void;
    onRun: () => void;
  }) => (
    <textarea
      aria-label="Gremlin"
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      onBlur={onRun}
    />
  ),
}));
jest.mock('@grafana/runtime', () => ({
  ...jest.requireActual('@grafana/runtime'),
  DataSourcePicker: ({ onChange, onClear }: { onChange: (found: { uid: string }) => void; onClear: () => void }) => (
    <>
      <button onClick={() => onChange({ uid: 'tempo' })}>choose</button>
      <button onClick={onClear}>clear</button>
    </>
  ),
}));

let query: SkytrailQuery;
let ran: number;

function Edited({ first }: { first: Partial<SkytrailQuery> }) {
  const [now, set] = useState<SkytrailQuery>({ refId: 'A', ...first });
  useEffect(() => {
    query = now;
  });
  return <QueryEditor datasource={{} as DataSource} query={now} onChange={set} onRunQuery={() => ran++} />;
}

function edit(first: Partial<SkytrailQuery>): void {
  ran = 0;
  render(<Edited first={first} />);
}

// by label: roles are slow to look for
const choose = (name: string) => act(() => fireEvent.click(screen.getAllByLabelText(name).at(-1)!));
const write = (label: string, value: string) =>
  act(() => {
    fireEvent.change(screen.getByLabelText(label), { target: { value } });
    fireEvent.blur(screen.getByLabelText(label), { target: { value } });
  });

describe('the editor of queries', () => {
  it('takes another kind, with an example where nothing was written', async () => {
    edit({ queryType: 'graph', gremlin: EXAMPLES.graph });
    await choose('Flows');
    expect(query).toMatchObject({ queryType: 'flows', gremlin: EXAMPLES.flows });
    expect(ran).toBe(1);
    await write('Gremlin', 'G.Flows().Limit(3)');
    await choose('Table');
    expect(query).toMatchObject({ queryType: 'table', gremlin: 'G.Flows().Limit(3)' });
  });

  it.each(KINDS)('shows what %s takes', (queryType) => {
    edit({ queryType });
    const texts = { trace: 'Conversation', path: 'From' } as Record<string, string>;
    expect(screen.getByLabelText(texts[queryType] ?? 'Gremlin')).toBeInTheDocument();
  });

  it('of a path has its ends, its port and its protocol', async () => {
    edit({ queryType: 'path' });
    await write('From', '10.0.0.1');
    await write('To', 'web');
    await write('Port', '$port');
    await choose('udp');
    await choose('Table');
    expect(query).toMatchObject({ source: '10.0.0.1', destination: 'web', port: '$port', protocol: 'udp' });
  });

  it('of series has counters and names', async () => {
    edit({ queryType: 'timeseries', gremlin: 'G.V()' });
    await write('Counters', 'RxPackets, TxPackets ');
    await write('Legend', '{{Name}}');
    expect(query).toMatchObject({ metrics: ['RxPackets', 'TxPackets'], legend: '{{Name}}' });
    expect(ran).toBeGreaterThan(0);
  });

  it('of changes compares each, or the ends', async () => {
    edit({ queryType: 'changes', gremlin: 'G.V()' });
    await act(() => fireEvent.click(screen.getByLabelText(/edges came and went/)));
    await choose('Beginning and end');
    expect(query).toMatchObject({ edges: true, comparison: 'ends' });
    expect(screen.queryByLabelText('Gremlin')).toBeNull();
  });
});

describe('the editor of settings', () => {
  type Settings = DataSourceSettings<SkytrailOptions, SkytrailSecrets>;
  let options: Settings;

  function Configured({ first }: { first: Partial<Settings> }) {
    const [now, set] = useState({ url: '', jsonData: {}, secureJsonFields: {}, ...first } as Settings);
    useEffect(() => {
      options = now;
    });
    return <ConfigEditor options={now} onOptionsChange={set} />;
  }

  it('keeps a token where no browser sees it, and lets it be taken back', async () => {
    const { unmount } = render(<Configured first={{}} />);
    await write('URL', ' https://hub:8082 ');
    await write('Token', 'skytrail_x');
    expect(options).toMatchObject({ url: 'https://hub:8082', jsonData: {}, secureJsonData: { token: 'skytrail_x' } });
    unmount();
    render(<Configured first={{ secureJsonFields: { token: true } }} />);
    expect(screen.getByLabelText('Token')).toBeDisabled();
    await act(() => fireEvent.click(screen.getByText('Reset')));
    expect(options).toMatchObject({ secureJsonFields: { token: false }, secureJsonData: { token: '' } });
  });

  it('asks for certificates where they are to be used, by the names that the proxy knows', async () => {
    render(<Configured first={{}} />);
    expect(screen.queryByLabelText('CA certificate')).toBeNull();
    await act(() => fireEvent.click(screen.getByLabelText('With a CA certificate')));
    await write('CA certificate', 'PEM');
    await write("Server's name", 'hub');
    expect(options).toMatchObject({
      jsonData: { tlsAuthWithCACert: true, serverName: 'hub' },
      secureJsonData: { tlsCACert: 'PEM' },
    });
  });

  it('knows who has the traces', async () => {
    render(<Configured first={{}} />);
    await act(() => fireEvent.click(screen.getByText('choose')));
    expect(options.jsonData.tracesUid).toBe('tempo');
    await act(() => fireEvent.click(screen.getByText('clear')));
    expect(options.jsonData.tracesUid).toBeUndefined();
  });
});

it('is the plugin that it says it is', () => {
  plugin.meta = pluginJson as unknown as PluginMeta & typeof plugin.meta;
  expect(plugin.components).toMatchObject({ QueryEditor, ConfigEditor });
  expect(pluginJson.id).toMatch(/^skytrail-\w+-datasource$/);
  expect(pluginJson.routes.every(({ headers }) => headers[0].content === 'Bearer {{ .SecureJsonData.token }}')).toBe(
    true
  );
});
