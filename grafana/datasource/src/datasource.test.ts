import {
  CoreApp,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceInstanceSettings,
  LoadingState,
  ScopedVars,
  dateTime,
} from '@grafana/data';
import { BackendSrvRequest, FetchResponse, TemplateSrv, setBackendSrv } from '@grafana/runtime';
import { Observable, firstValueFrom, throwError } from 'rxjs';

import { DataSource } from './datasource';
import { recorded } from './testing/recorded';
import { expectFrame, expectGraph, valuesOf } from './testing/frames';
import { SkytrailOptions, SkytrailQuery, SkytrailVariableQuery } from './types';

const URL = '/api/datasources/proxy/uid/us';

/** What was asked, and what is answered to each path. */
let asked: BackendSrvRequest[];
let answers: Record<string, unknown>;
let headers: Headers;
let ended: string[];

function fetch(request: BackendSrvRequest): Observable<FetchResponse<unknown>> {
  asked.push(request);
  const answer = answers[request.url.slice(URL.length)];
  if (answer instanceof Error) {
    return throwError(() => Object.assign({}, answer, { config: request }));
  }
  const data = typeof answer === 'function' ? answer(request) : answer;
  return new Observable<FetchResponse<unknown>>((waiting) => {
    if (data !== undefined) {
      waiting.next({
        data,
        headers,
        ok: true,
        status: 200,
        statusText: 'OK',
        config: request,
        redirected: false,
        type: 'basic',
        url: request.url,
      });
      waiting.complete();
    }
    return () => data === undefined && ended.push(request.url);
  });
}

/** As Grafana's proxy and its backendSrv tell of an answer that is an error. */
function failure(status: number, data: unknown, statusText = 'Bad Request'): Error {
  return Object.assign(new Error(), { status, statusText, data });
}

const variables: Record<string, string | string[]> = { host: 'h1', names: ['a', "b'"] };
const templates = {
  replace: (text = '', scoped: ScopedVars = {}, format?: (value: unknown) => string) =>
    text.replace(/\$(\w+)|\$\{(\w+)(:\w+)?\}/g, (written, short, long, formatted) => {
      const value = scoped[short ?? long]?.value ?? variables[short ?? long];
      return value === undefined
        ? written
        : format && !formatted
          ? format(value)
          : Array.isArray(value)
            ? `{${value}}`
            : value;
    }),
} as unknown as TemplateSrv;

const settings = {
  uid: 'us',
  name: 'Skytrail',
  type: 'skytrail-topology-datasource',
  url: URL,
  jsonData: {},
  meta: {},
} as DataSourceInstanceSettings<SkytrailOptions>;

function source(): DataSource {
  return new DataSource(settings, templates);
}

const [FROM, TO] = [1_795_708_000_000, 1_795_709_100_000];

function request(
  targets: Array<Partial<SkytrailQuery>>,
  more: Partial<DataQueryRequest<SkytrailQuery>> = {}
): DataQueryRequest<SkytrailQuery> {
  const [from, to] = [dateTime(FROM), dateTime(TO)];
  return {
    requestId: 'Q1',
    app: CoreApp.Dashboard,
    interval: '30s',
    intervalMs: 30_000,
    range: { from, to, raw: { from, to } },
    scopedVars: {},
    startTime: 0,
    timezone: 'utc',
    targets: targets.map((target, at) => ({ refId: 'ABC'[at], ...target })),
    ...more,
  };
}

async function answered(
  targets: Array<Partial<SkytrailQuery>>,
  more: Partial<DataQueryRequest<SkytrailQuery>> = {}
): Promise<DataQueryResponse> {
  return firstValueFrom(source().query(request(targets, more)));
}

/** Texts that were asked in Skydive's dialect. */
const texts = () => asked.map((one) => (one.data as { GremlinQuery: string }).GremlinQuery);

beforeEach(() => {
  [asked, answers, ended, headers] = [[], {}, [], new Headers()];
  jest.useFakeTimers({ now: TO + 60_000, doNotFake: ['setTimeout', 'setImmediate', 'nextTick', 'queueMicrotask'] });
  setBackendSrv({ fetch } as unknown as Parameters<typeof setBackendSrv>[0]);
});

afterEach(() => jest.useRealTimers());

describe('query()', () => {
  it('asks for a graph at the end of the range, through the proxy', async () => {
    answers['/api/topology'] = recorded('graph');
    const { data, state } = await answered([
      { queryType: 'graph', gremlin: "G.V().Has('@Host', '$host')", mainStat: 'Mode', secondaryStat: 'Bond.Mode' },
    ]);
    expect(asked).toEqual([
      expect.objectContaining({
        url: `${URL}/api/topology`,
        method: 'POST',
        requestId: 'Q1-A',
        data: {
          GremlinQuery: `G.At(${TO}).V().Has('@Host', 'h1').SubGraph()`,
          Keys: expect.arrayContaining([
            'Name',
            'Type',
            'K8s',
            'LastUpdateMetric',
            'RelationType',
            'MTU',
            'Mode',
            'Bond.Mode',
            'Bond',
          ]),
        },
      }),
    ]);
    expectGraph(data);
    expect(state).toBe(LoadingState.Done);
    expect(data.map((frame) => frame.refId)).toEqual(['A', 'A']);
  });

  it('is a graph where no kind is said, and is about now where the range ends now', async () => {
    answers['/api/topology'] = recorded('nodes');
    const range = { from: dateTime(FROM), to: dateTime(TO), raw: { from: 'now-1h', to: 'now' } };
    const { data } = await answered([{ gremlin: 'G.V()' }], { range });
    expect(texts()).toEqual(['G.V().SubGraph()']);
    expectGraph(data);
  });

  it("takes TinkerPop's dialect, with the moment beside it", async () => {
    answers['/gremlin'] = recorded('vertices');
    const { data } = await answered([{ queryType: 'table', gremlin: "g.V().has('Name', '$names')" }]);
    expect(asked[0]).toMatchObject({
      url: `${URL}/gremlin`,
      data: { gremlin: "g.V().has('Name', within('a', 'b\\''))", at: String(TO) },
      headers: { Accept: 'application/vnd.gremlin-v3.0+json;types=false' },
    });
    expectFrame(data[0]);
    expect(valuesOf(data[0], 'Name')).toContain('eth0');
  });

  it('asks for metrics over the range, and for names', async () => {
    answers['/api/topology'] = (one: BackendSrvRequest) =>
      recorded(String(one.data.GremlinQuery).includes('Metrics') ? 'metrics' : 'names');
    const { data } = await answered([
      { queryType: 'timeseries', gremlin: "G.V().Has('Name', 'eth0')", metrics: ['RxPackets'] },
    ]);
    expect(new Set(texts())).toEqual(
      new Set([
        `G.At(${TO}, 1100).V().Has('Name', 'eth0').Metrics()`,
        `G.At(${TO}, 1100).V().Has('Name', 'eth0').Dedup()`,
      ])
    );
    expect(new Set(asked.map((one) => one.requestId))).toEqual(new Set(['Q1-A', 'Q1-A-names']));
    data.forEach(expectFrame);
    expect(data.map((frame) => frame.fields[1].config.displayNameFromDS)).toEqual([
      'h1 eth0 RxPackets',
      'h1 eth0 RxPackets',
      'h1 eth0 RxPackets',
    ]);
  });

  it('asks for flows over the range, with the filters of the dashboard', async () => {
    answers['/api/topology'] = recorded('flows');
    const filters = [
      { key: 'Flow.Application', operator: '=', value: 'HTTP' },
      { key: 'Type', operator: '=', value: 'veth' },
    ];
    const { data } = await answered([{ queryType: 'flows', gremlin: 'G.Flows().Limit(8)' }], { filters });
    expect(texts()).toEqual([`G.At(${TO}, 1100).Flows().Has('Application', 'HTTP').Limit(8)`]);
    expectFrame(data[0]);
  });

  it.each([
    ['fa65c8650de930f10d2ffeefc51c517b', '/api/v1/trace/fa65c8650de930f10d2ffeefc51c517b', {}],
    ['1:pJyo0sNMpfZ0ZAsWq2kRfL9u/Y4=', '/api/v1/trace/1:pJyo0sNMpfZ0ZAsWq2kRfL9u/Y4=', {}],
    ['host $host and port 80', '/api/v1/trace', { filter: 'host h1 and port 80' }],
  ])('traces %s', async (conversation, path, more) => {
    answers[path] = recorded('trace');
    const { data, errors } = await answered([{ queryType: 'trace', conversation }]);
    expect(errors).toBeUndefined();
    expect(asked[0].params).toEqual({ at: String(TO), duration: '1100s', ...more });
    expectGraph(data);
  });

  it('shows a path in Explore both ways, and on a dashboard as it is said', async () => {
    answers['/api/v1/path'] = recorded('path');
    const path: Partial<SkytrailQuery> = { queryType: 'path', source: '$host', destination: ' 10.10.2.1 ', port: '80' };
    const { data } = await answered([path], { app: CoreApp.Explore });
    expect(asked[0].params).toEqual({ src: 'h1', dst: '10.10.2.1', port: '80', at: String(TO) });
    expect(data.map((frame) => frame.name)).toEqual(['nodes', 'edges', 'hops']);
    const { data: table } = await answered([{ ...path, view: 'table' }]);
    expect(table.map((frame) => frame.name)).toEqual(['hops']);
  });

  it('tells changes, each or between the ends', async () => {
    answers['/api/topology'] = (one: BackendSrvRequest) =>
      recorded(String(one.data.GremlinQuery).includes('BothE') ? 'edge-revisions' : 'revisions');
    answers['/api/v1/diff'] = recorded('diff');
    const { data } = await answered([
      { queryType: 'changes', gremlin: 'G.V()', edges: true },
      { queryType: 'changes', comparison: 'ends' },
    ]);
    expect(asked.map((one) => one.data?.GremlinQuery ?? one.params)).toEqual([
      `G.At(${TO}, 1100).V()`,
      `G.At(${TO}, 1100).V().BothE()`,
      `G.At(${TO}, 1100).V().Both().Dedup()`,
      { from: FROM, to: String(TO) },
    ]);
    data.forEach(expectFrame);
    expect(data.map((frame) => frame.refId)).toEqual(['A', 'B']);
    expect(data[0].fields.map((field: { name: string }) => field.name)).toEqual(
      expect.arrayContaining(['time', 'title', 'text', 'tags'])
    );
  });

  it('says who did not answer beside what the others said', async () => {
    answers['/api/topology'] = recorded('flows');
    headers = new Headers({ 'Skytrail-Missing': 'h2: no agent', 'Skytrail-History': 'h1: since 2026-11-26T10:00:00Z' });
    const { data } = await answered([{ queryType: 'flows', gremlin: 'G.Flows()' }]);
    expect(data[0].meta.notices.map((one: { text: string }) => one.text)).toEqual([
      'These hosts did not answer: h2: no agent',
      'Not all of this time is remembered: h1: since 2026-11-26T10:00:00Z',
    ]);
  });

  it.each([
    [
      failure(400, { message: "line 1, column 7: 'Hs' is no step: did you mean Has?\n", error: 'Bad Request' }),
      "line 1, column 7: 'Hs' is no step: did you mean Has?",
    ],
    [
      failure(503, { error: 'too many queries wait already', status: 503, message: 'too many queries wait already' }),
      'too many queries wait already',
    ],
    [failure(400, { message: 'Authentication to data source failed' }), 'set a token'],
    [failure(401, { error: 'a token or a user with a password is needed', status: 401 }), 'set a token'],
    [failure(502, { message: '' }, 'Bad Gateway'), 'the hub does not answer at the address'],
    [failure(0, undefined, ''), 'HTTP 0'],
  ])('tells an error in the words of the hub', async (error, said) => {
    answers['/api/topology'] = error;
    const { data, errors, state } = await answered([{ queryType: 'table', gremlin: 'G.V().Hs()' }]);
    expect(data).toEqual([]);
    expect(state).toBe(LoadingState.Error);
    expect(errors).toEqual([{ refId: 'A', message: expect.stringContaining(said) }]);
  });

  it('answers the other queries where one fails', async () => {
    answers['/api/topology'] = recorded('nodes');
    const { data, errors } = await answered([
      { queryType: 'flows', gremlin: 'G.V()' },
      { queryType: 'table', gremlin: "G.V().Has('Name', 'x-$names')" },
      { queryType: 'table', gremlin: 'G.V()' },
    ]);
    expect(data.map((frame) => frame.refId)).toEqual(['C']);
    expect(errors!.map((one) => one.message)).toEqual([
      expect.stringContaining('gives no flows'),
      expect.stringContaining('$names has 2 values'),
    ]);
  });

  it.each([
    ['timeseries', 'count', 'gives no metrics'],
    ['graph', 'values', 'gives neither nodes nor edges'],
  ] as const)('says that %s is not what the query gives', async (queryType, name, said) => {
    answers['/api/topology'] = recorded(name);
    const { errors } = await answered([{ queryType, gremlin: 'G.V().Metrics().Sum()' }]);
    expect(errors![0].message).toContain(said);
  });

  it('asks nothing that is hidden or not said', async () => {
    const left = [
      { queryType: 'graph', gremlin: ' ' },
      { queryType: 'graph', gremlin: 'G', hide: true },
      { queryType: 'trace' },
      { queryType: 'path', source: 'a' },
      { queryType: 'changes' },
    ] as const;
    expect((await answered([...left])).data).toEqual([]);
    expect(asked).toEqual([]);
  });

  it('ends its requests when nobody waits any more', () => {
    const waiting = source()
      .query(request([{ queryType: 'timeseries', gremlin: 'G.V()' }]))
      .subscribe();
    expect(asked).toHaveLength(2);
    expect(ended).toEqual([]);
    waiting.unsubscribe();
    expect(ended).toEqual([`${URL}/api/topology`, `${URL}/api/topology`]);
  });
});

describe('variables and filters', () => {
  it('are what a query gives, each once and in order', async () => {
    answers['/api/topology'] = ['eth10', 'eth2', ['a', 'eth2'], null, { x: 1 }];
    const found = await source().metricFindQuery({ refId: 'v', gremlin: "G.V().Has('@Host', '$host').Values('Name')" });
    expect(found).toEqual(['a', 'eth2', 'eth10'].map((text) => ({ text, value: text })));
    expect(texts()).toEqual(["G.V().Has('@Host', 'h1').Values('Name')"]);
  });

  it('are names where it gives elements; of nothing nothing is asked', async () => {
    answers['/api/topology'] = recorded('nodes');
    expect(await source().metricFindQuery('G.V()')).toEqual([{ text: 'eth0', value: 'eth0' }]);
    expect(await source().metricFindQuery('  ')).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  it('come by the support of variables, with the range', async () => {
    answers['/api/topology'] = 26;
    const one = request([]) as unknown as DataQueryRequest<SkytrailVariableQuery>;
    const support = source().variables as unknown as { query: (asked: typeof one) => Observable<DataQueryResponse> };
    const { data } = await firstValueFrom(
      support.query({ ...one, targets: [{ refId: 'v', gremlin: 'G.V().Count()' }] })
    );
    expect(data).toEqual([{ text: '26', value: '26' }]);
    expect(texts()).toEqual([`G.At(${TO}).V().Count()`]);
  });

  it('are chosen by keys and values that the hub knows', async () => {
    answers['/api/v1/complete'] = (one: BackendSrvRequest) => recorded(one.params?.key ? 'values-of-name' : 'words');
    const ours = source();
    const keys = (await ours.getTagKeys()).map((one) => one.text);
    expect(keys).toEqual(expect.arrayContaining(['Name', 'Type', '@Host', 'Flow.Application', 'Flow.Network.A']));
    await ours.getTagKeys();
    expect(asked).toHaveLength(1);
    expect(await ours.getTagValues({ key: 'Name', filters: [] })).toContainEqual({ text: 'eth0', value: 'eth0' });
    await ours.getTagValues({ key: 'Flow.Application', filters: [] });
    expect(asked.slice(1).map((one) => one.params)).toEqual([
      { key: 'Name', of: 'nodes' },
      { key: 'Application', of: 'flows' },
    ]);
  });

  it('stand in queries that go to Explore', () => {
    const [query] = source().interpolateVariablesInQueries(
      [{ refId: 'A', gremlin: "G.V().Has('Name', '$host')", source: '$host' }],
      { host: { value: 'other' } },
      [{ key: 'Type', operator: '=', value: 'veth' }]
    );
    expect(query).toMatchObject({ gremlin: "G.V().Has('Name', 'other').Has('Type', 'veth')", source: 'other' });
  });
});

describe('the test of the settings', () => {
  it('says what is there', async () => {
    answers['/api/status'] = recorded('status');
    answers['/readyz'] = { ready: true, waiting: {} };
    expect(await source().testDatasource()).toEqual({
      status: 'success',
      message: expect.stringMatching(/^Skytrail 0\.\d+\.\d+: \d+ nodes and edges, 2 agents$/),
    });
  });

  it('says what is waited for', async () => {
    answers['/api/status'] = recorded('status');
    answers['/readyz'] = failure(503, {});
    expect((await source().testDatasource()).status).toBe('success');
    answers['/readyz'] = { ready: false, waiting: { store: 'the disk is full' } };
    expect((await source().testDatasource()).message).toContain('; store waits: the disk is full');
  });

  it.each([
    [{ service: 'agent' }, 'the agent: give the hub'],
    [{}, 'nothing of Skytrail: give the hub'],
    [
      failure(502, { message: 'connection refused' }, 'Bad Gateway'),
      'the hub does not answer at the address of the data source: connection refused',
    ],
    [failure(400, { message: 'Authentication to data source failed' }), 'set a token'],
  ])('says what is wrong', async (answer, said) => {
    answers['/api/status'] = answer;
    expect(await source().testDatasource()).toEqual({ status: 'error', message: expect.stringContaining(said) });
  });
});

it('begins with flows in Explore, and with a graph elsewhere; annotations with changes', () => {
  const ours = source();
  expect(ours.getDefaultQuery(CoreApp.Explore).queryType).toBe('flows');
  expect(ours.getDefaultQuery(CoreApp.Dashboard).queryType).toBe('graph');
  expect(ours.annotations.getDefaultQuery()).toEqual({ queryType: 'changes', gremlin: 'G.V()' });
  expect(ours.getQueryDisplayText({ refId: 'A', queryType: 'path', source: 'a', destination: 'b' })).toBe(
    'path: a → b'
  );
  expect(ours.getQueryDisplayText({ refId: 'A', gremlin: 'G.V()' })).toBe('graph: G.V()');
});
