/** The dashboards beside this plugin ask what it understands. */

import { CoreApp, DataQueryRequest, DataSourceInstanceSettings, ScopedVars, dateTime } from '@grafana/data';
import { BackendSrvRequest, TemplateSrv, setBackendSrv } from '@grafana/runtime';
import { readFileSync, readdirSync } from 'fs';
import { join } from 'path';
import { EMPTY, firstValueFrom } from 'rxjs';

import { DataSource } from './datasource';
import { KINDS, SkytrailOptions, SkytrailQuery } from './types';

const FOLDER = join(__dirname, '../../dashboards/json');

interface Shown {
  title?: string;
  name?: string;
  target?: SkytrailQuery;
  targets?: SkytrailQuery[];
}

const queries = readdirSync(FOLDER).flatMap((file) => {
  const { panels, annotations } = JSON.parse(readFileSync(join(FOLDER, file), 'utf8'));
  return [...panels, ...annotations.list].flatMap(({ title, name, target, targets }: Shown) =>
    (targets ?? (target ? [target] : []))
      .filter((one) => one.queryType)
      .map((one): [string, string, SkytrailQuery] => [file, title ?? name ?? '', one])
  );
});

/** Each variable has two values, one with a quote. */
const templates = {
  replace: (text = '', _scoped: ScopedVars, format?: (value: unknown) => string) =>
    text.replace(/\$\w+/g, () => (format ? format(['h1', "it's"]) : 'h1')),
} as unknown as TemplateSrv;

const settings = { uid: 'us', name: 'Skytrail', url: '', jsonData: {} } as DataSourceInstanceSettings<SkytrailOptions>;

test('there are some of most kinds', () => {
  const kinds = new Set(queries.map(([, , { queryType }]) => queryType));
  expect(KINDS.filter((one) => !kinds.has(one))).toEqual(['trace']);
});

test.each(queries)('%s: %s', async (_file, _title, target) => {
  const asked: BackendSrvRequest[] = [];
  setBackendSrv({ fetch: (request: BackendSrvRequest) => (asked.push(request), EMPTY) } as never);
  const [from, to] = [dateTime('2026-11-25T14:00:00Z'), dateTime('2026-11-25T15:00:00Z')];
  const request = {
    requestId: 'Q1',
    app: CoreApp.Dashboard,
    intervalMs: 1000,
    range: { from, to, raw: { from, to } },
    scopedVars: {},
    targets: [target],
  } as unknown as DataQueryRequest<SkytrailQuery>;
  const source = new DataSource(settings, templates);
  const answer = await firstValueFrom(source.query(request), { defaultValue: { data: [], errors: [] } });
  expect(answer.errors ?? []).toEqual([]);
  expect(asked.length).toBeGreaterThan(0);
  for (const { url, data, params } of asked) {
    const text = JSON.stringify({ ...data, ...params });
    expect(text).not.toContain('$');
    expect(url === '/api/topology' ? text : '"G.At(').toMatch(/"G\.At\(/);
  }
});
