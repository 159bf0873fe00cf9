/**
 * The page that stands for Grafana: it loads the built plugin as Grafana does (AMD, with Grafana's own packages given to it),
 * and has functions that the driver calls.
 */

import * as emotion from '@emotion/css';
import * as data from '@grafana/data';
import * as runtime from '@grafana/runtime';
import * as ui from '@grafana/ui';
import React, { useState } from 'react';
import * as jsxRuntime from 'react/jsx-runtime';
import * as ReactDOM from 'react-dom';
import { createRoot } from 'react-dom/client';
import * as rxjs from 'rxjs';

import type { DataSource } from '../src/datasource';
import type { SkytrailOptions, SkytrailQuery, SkytrailSecrets } from '../src/types';
import { backend, templates } from './services';

type Plugin = data.DataSourcePlugin<DataSource, SkytrailQuery, SkytrailOptions, SkytrailSecrets>;
type Settings = data.DataSourceSettings<SkytrailOptions, SkytrailSecrets>;

const PLUGIN = '/public/plugins/skytrail-topology-datasource/module.js';
const PROXY = '/api/datasources/proxy/uid/skytrail';

/** What the plugin does not bring along. */
const GIVEN: Record<string, unknown> = {
  '@emotion/css': emotion,
  '@grafana/data': data,
  '@grafana/runtime': runtime,
  '@grafana/ui': ui,
  module: { uri: PLUGIN },
  react: React,
  'react-dom': ReactDOM,
  'react/jsx-runtime': jsxRuntime,
  rxjs,
};

const settings = {
  uid: 'skytrail',
  name: 'Skytrail',
  type: 'skytrail-topology-datasource',
  url: PROXY,
  jsonData: {},
  meta: { id: 'skytrail-topology-datasource', info: { logos: { small: '' } } },
} as unknown as data.DataSourceInstanceSettings<SkytrailOptions>;

const tempo = { ...settings, uid: 'tempo', name: 'Tempo', type: 'tempo', meta: { ...settings.meta, id: 'tempo' } };

runtime.setBackendSrv(backend as unknown as runtime.BackendSrv);
runtime.setTemplateSrv(templates as unknown as runtime.TemplateSrv);
runtime.setDataSourceSrv({
  getList: () => [tempo],
  // of nothing it is the default one
  getInstanceSettings: (ref: unknown) => (ref === 'tempo' || ref === null ? tempo : undefined),
} as unknown as runtime.DataSourceSrv);

/** Load what webpack built. */
function load(): Promise<Plugin> {
  return new Promise((found, failed) => {
    const define = (names: string[], factory: (...given: unknown[]) => { plugin: Plugin }) => {
      const missing = names.filter((name) => !(name in GIVEN));
      if (missing.length) {
        failed(new Error(`the plugin wants what Grafana does not give: ${missing.join(', ')}`));
        return;
      }
      found(factory(...names.map((name) => GIVEN[name])).plugin);
    };
    Object.assign(window, { define: Object.assign(define, { amd: {} }) });
    const script = document.createElement('script');
    Object.assign(script, { src: PLUGIN, onerror: () => failed(new Error(`${PLUGIN} is not there: build it`)) });
    document.head.append(script);
  });
}

function Framed({ children }: React.PropsWithChildren) {
  return (
    <data.ThemeContext.Provider value={THEME}>
      <ui.GlobalStyles />
      <ui.PortalContainer />
      <div style={{ padding: 16, width: 1180 }}>{children}</div>
    </data.ThemeContext.Provider>
  );
}

const THEME = data.createTheme({ colors: { mode: 'dark' } });
const root = createRoot(document.getElementById('page')!);

function show(children: React.ReactNode): void {
  root.render(<Framed>{children}</Framed>);
}

function range(seconds: number): data.TimeRange {
  const to = data.dateTime();
  return { from: data.dateTime(to.valueOf() - seconds * 1000), to, raw: { from: `now-${seconds}s`, to: 'now' } };
}

function request(
  query: SkytrailQuery,
  more: Partial<data.DataQueryRequest<SkytrailQuery>>
): data.DataQueryRequest<SkytrailQuery> {
  return {
    requestId: `Q${++requests}`,
    app: data.CoreApp.Dashboard,
    interval: '10s',
    intervalMs: 10_000,
    range: range(900),
    scopedVars: {},
    startTime: Date.now(),
    timezone: 'utc',
    targets: [query],
    ...more,
  };
}

let requests = 0;

/** The query editor, the query's answer below it. */
function Panel({ source, plugin, first }: { source: DataSource; plugin: Plugin; first: SkytrailQuery }) {
  const [query, setQuery] = useState(first);
  const [answer, setAnswer] = useState<data.DataQueryResponse>();
  const Editor = plugin.components.QueryEditor!;
  const run = () => source.query(request(query, { app: data.CoreApp.Explore })).subscribe(setAnswer);
  Object.assign(window, { shownQuery: query });
  return (
    <ui.Stack direction="column" gap={2}>
      <Editor datasource={source} query={query} onChange={setQuery} onRunQuery={run} range={range(900)} />
      <div>
        <ui.Button onClick={run}>Run query</ui.Button>
      </div>
      {answer?.errors?.map((error) => (
        <ui.Alert key={error.refId} title={error.message ?? ''} severity="error" />
      ))}
      {answer?.data.map((frame: data.DataFrame, at: number) => (
        <Shown key={at} frame={frame} />
      ))}
    </ui.Stack>
  );
}

function Shown({ frame }: { frame: data.DataFrame }) {
  const [processed] = data.applyFieldOverrides({
    data: [frame],
    fieldConfig: { defaults: { custom: {} }, overrides: [] },
    replaceVariables: (text) => text,
    theme: THEME,
    timeZone: 'utc',
  });
  return (
    <div>
      {frame.meta?.notices?.map((notice, at) => (
        <ui.Alert key={at} title={notice.text} severity={notice.severity} />
      ))}
      <ui.Table data={processed} width={1140} height={Math.min(300, 40 + 36 * frame.length)} />
    </div>
  );
}

/** The settings, and the test of them. */
function Config({ plugin }: { plugin: Plugin }) {
  const [options, setOptions] = useState({
    ...settings,
    url: 'http://127.0.0.1:8082',
    secureJsonFields: {},
  } as unknown as Settings);
  const [tested, setTested] = useState<data.TestDataSourceResponse>();
  const Editor = plugin.components.ConfigEditor!;
  const test = () => source(plugin).testDatasource().then(setTested);
  Object.assign(window, { shownOptions: options });
  return (
    <>
      <Editor options={options} onOptionsChange={setOptions} />
      <ui.Button onClick={test}>Save &amp; test</ui.Button>
      {tested && <ui.Alert title={tested.message} severity={tested.status === 'success' ? 'success' : 'error'} />}
    </>
  );
}

function source(plugin: Plugin): DataSource {
  return new plugin.DataSourceClass(settings);
}

/** What the driver can call. */
export interface Harness {
  config: () => void;
  panel: (query: Partial<SkytrailQuery>) => void;
  query: (
    query: Partial<SkytrailQuery>,
    more?: { variables?: Record<string, string | string[]>; filters?: data.AdHocVariableFilter[]; explore?: boolean }
  ) => Promise<Answered>;
  /** Begins one, and leaves it; whether its request has ended then. */
  abandon: (query: Partial<SkytrailQuery>) => Promise<boolean>;
  choices: (gremlin: string) => Promise<data.MetricFindValue[]>;
  tags: (key?: string) => Promise<data.MetricFindValue[]>;
  test: () => Promise<data.TestDataSourceResponse>;
}

/** As JSON: frames by Grafana's own form of it. */
export interface Answered {
  frames: data.DataFrameJSON[];
  errors: string[];
  milliseconds: number;
  /** How long the hub's answers took, of that. */
  asked: number;
}

async function begin(): Promise<void> {
  const plugin = await load();
  const ours = source(plugin);
  const whole = (query: Partial<SkytrailQuery>): SkytrailQuery => ({ refId: 'A', ...query });
  const harness: Harness = {
    config: () => show(<Config plugin={plugin} />),
    panel: (query) => show(<Panel key={++requests} source={ours} plugin={plugin} first={whole(query)} />),
    query: async (query, { variables = {}, filters, explore = false } = {}) => {
      const scopedVars = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, { value }]));
      const app = explore ? data.CoreApp.Explore : data.CoreApp.Dashboard;
      const begun = performance.now();
      backend.took = 0;
      const { data: found, errors } = await rxjs.firstValueFrom(
        ours.query(request(whole(query), { app, scopedVars, filters }))
      );
      const milliseconds = performance.now() - begun;
      return {
        frames: found.map(data.dataFrameToJSON),
        errors: (errors ?? []).map((one) => one.message ?? ''),
        milliseconds,
        asked: backend.took,
      };
    },
    abandon: async (query) => {
      const before = backend.aborted;
      const waiting = ours.query(request(whole(query), {})).subscribe();
      await new Promise((done) => setTimeout(done, 100));
      waiting.unsubscribe();
      return backend.aborted > before;
    },
    choices: (gremlin) => ours.metricFindQuery({ refId: 'v', gremlin }, { range: range(900) }),
    tags: (key) => (key ? ours.getTagValues({ key, filters: [] }) : ours.getTagKeys()),
    test: () => ours.testDatasource(),
  };
  Object.assign(window, { harness });
}

begin().catch((error: Error) => Object.assign(window, { harnessFailed: error.message }));
