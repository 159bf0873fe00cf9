/** Joins the parts: what a dashboard asks → the hub's questions → frames. */

import {
  AdHocVariableFilter,
  CoreApp,
  DataFrame,
  DataQueryRequest,
  DataQueryResponse,
  DataSourceApi,
  DataSourceGetTagValuesOptions,
  DataSourceInstanceSettings,
  LegacyMetricFindQueryOptions,
  LoadingState,
  MetricFindValue,
  QueryResultMetaNotice,
  ScopedVars,
  TestDataSourceResponse,
  TimeRange,
  getDefaultTimeRange,
} from '@grafana/data';
import { TemplateSrv, getDataSourceSrv, getTemplateSrv } from '@grafana/runtime';
import { Observable, catchError, defer, firstValueFrom, forkJoin, map, of } from 'rxjs';

import { changeFrames, changesBetween, changesOf, namesOf } from './frames/changes';
import { flowFrames } from './frames/flows';
import { graphFrames, keysOf } from './frames/graph';
import { Targets } from './frames/links';
import { pathFrames } from './frames/path';
import { keysOfNames, seriesFrames } from './frames/series';
import { tableFrames } from './frames/table';
import { traceFrames } from './frames/trace';
import { FLOW_PREFIX, asGraph, measured, withConditions } from './gremlin/given';
import { Period, atOf, periodOf, timed } from './gremlin/moments';
import { chainOf } from './gremlin/text';
import { Value, interpolated } from './gremlin/variables';
import { Element, Flow, Json, Metrics, Owner, Words, isElement, isPart } from './hub/answers';
import { Answer, HubClient } from './hub/client';
import { Kind, Moment, SkytrailOptions, SkytrailQuery, SkytrailVariableQuery, View, defaultQuery } from './types';
import { VariableSupport } from './variables';

/** Flows, sockets and conversations are looked for no longer back than this, which the hub allows. */
const LONGEST_TRACE = 7 * 86400;
const CONVERSATION = /^([0-9a-fA-F]{32}|1:[A-Za-z0-9+/]{27}=)$/;
/** ms for which words are kept. */
const WORDS_KEPT = 60_000;

/** A query on its way: its texts have the variables' values and the dashboard's filters. */
interface Asked {
  query: SkytrailQuery;
  text: string;
  period: Period;
  request: DataQueryRequest<SkytrailQuery>;
  views: View[];
  /** A name of its own for each request. */
  id: (part?: string) => string;
}

type Frames = Observable<Answer<DataFrame[]>>;

export class DataSource extends DataSourceApi<SkytrailQuery, SkytrailOptions> {
  annotations = { getDefaultQuery: () => defaultQuery('changes') };
  readonly hub: HubClient;
  private words?: { until: number; found: Promise<Words> };

  constructor(
    private readonly settings: DataSourceInstanceSettings<SkytrailOptions>,
    private readonly templates: TemplateSrv = getTemplateSrv()
  ) {
    super(settings);
    this.hub = new HubClient(settings.url ?? '');
    this.variables = new VariableSupport(this);
  }

  getDefaultQuery(app: CoreApp): Partial<SkytrailQuery> {
    return defaultQuery(app === CoreApp.Explore ? 'flows' : 'graph');
  }

  filterQuery(query: SkytrailQuery): boolean {
    return Boolean(NEEDS[query.queryType ?? 'graph'](query));
  }

  getQueryDisplayText({ queryType, gremlin, conversation, source, destination }: SkytrailQuery): string {
    const rest: Partial<Record<Kind, string>> = { trace: conversation, path: `${source} → ${destination}` };
    const kind = queryType ?? 'graph';
    return `${kind}: ${rest[kind] ?? gremlin ?? ''}`;
  }

  interpolateVariablesInQueries(
    queries: SkytrailQuery[],
    scopedVars: ScopedVars,
    filters: AdHocVariableFilter[] = []
  ): SkytrailQuery[] {
    return queries.map((query) => this.filled(query, scopedVars, filters));
  }

  query(request: DataQueryRequest<SkytrailQuery>): Observable<DataQueryResponse> {
    const targets = request.targets.filter((target) => !target.hide && this.filterQuery(target));
    if (!targets.length) {
      return of({ data: [], state: LoadingState.Done });
    }
    const answers = targets.map((target) =>
      defer(() => this.answer(target, request)).pipe(
        map(({ data, notices }) => ({ data: named(data, target.refId, notices), errors: [] })),
        catchError((error: Error) => of({ data: [], errors: [{ refId: target.refId, message: error.message }] }))
      )
    );
    return forkJoin(answers).pipe(
      map((every) => {
        const errors = every.flatMap((one) => one.errors);
        const state = errors.length ? LoadingState.Error : LoadingState.Done;
        return { data: every.flatMap((one) => one.data), state, ...(errors.length && { errors }) };
      })
    );
  }

  private answer(target: SkytrailQuery, request: DataQueryRequest<SkytrailQuery>): Frames {
    const query = this.filled(target, request.scopedVars, request.filters ?? []);
    const both: View[] = ['graph', 'table'];
    return this.answers[query.queryType ?? 'graph']({
      query,
      text: query.gremlin?.trim() ?? '',
      period: periodOf(request.range, Date.now()),
      request,
      views: request.app === CoreApp.Explore ? both : [query.view ?? 'graph'],
      id: (part = '') => [request.requestId, target.refId, part].filter(Boolean).join('-'),
    });
  }

  /** The query with the variables' values, and the conditions of the dashboard's filters. */
  private filled(query: SkytrailQuery, scopedVars: ScopedVars, filters: AdHocVariableFilter[]): SkytrailQuery {
    const plain = (text?: string | number) =>
      text === undefined ? text : this.templates.replace(String(text), scopedVars);
    return {
      ...query,
      gremlin:
        query.gremlin &&
        withConditions(
          interpolated(query.gremlin, (one) => this.valueOf(one, scopedVars)),
          filters
        ),
      conversation: plain(query.conversation),
      source: plain(query.source),
      destination: plain(query.destination),
      port: plain(query.port),
    };
  }

  private valueOf(written: string, scopedVars?: ScopedVars): Value | undefined {
    let values: string[] | undefined;
    const made = this.templates.replace(written, scopedVars, (value: unknown) => {
      values = (Array.isArray(value) ? value : [value]).map(String);
      return '';
    });
    if (values) {
      return { values };
    }
    return made === written ? undefined : { values: [made], formatted: true };
  }

  private readonly answers: Record<Kind, (asked: Asked) => Frames> = {
    graph: ({ query, text, period, id }) =>
      this.ask(asGraph(text), query.moment ?? 'end', period, id(), keysOf(query)).pipe(
        made((answer) => graphFrames(partsOf(answer), { ...query, targets: this.targets() }))
      ),

    table: ({ query, text, period, id }) =>
      this.ask(text, query.moment ?? 'end', period, id()).pipe(made((answer) => tableFrames(answer))),

    flows: ({ query, text, period, id }) =>
      this.ask(text, query.moment ?? 'range', period, id()).pipe(
        made((answer) => flowFrames(flowsOf(answer), this.targets()))
      ),

    timeseries: ({ query, text, period, id, request }) => {
      const { text: whole, named: names, of: kind } = measured(text);
      const named$ = names
        ? this.ask(names, 'range', period, id('names'), keysOfNames(query.legend))
        : of({ data: [], notices: [] });
      const options = {
        ...query,
        from: period.from,
        to: period.to,
        interval: request.intervalMs,
        sampled: kind !== 'flows',
      };
      return forkJoin([this.ask(whole, 'range', period, id()), named$]).pipe(
        map(([metrics, found]) => ({
          data: seriesFrames(metricsOf(metrics.data), found.data as Array<Element | Flow>, options),
          notices: metrics.notices,
        }))
      );
    },

    trace: ({ query, period, views, id }) => {
      const conversation = query.conversation?.trim() ?? '';
      const by = CONVERSATION.test(conversation);
      const seconds = Math.min(LONGEST_TRACE, Math.ceil((period.to - period.from) / 1000));
      const asked = { filter: by ? undefined : conversation, at: atOf('end', period), duration: `${seconds}s` };
      return this.hub.trace(by ? conversation : '', asked, id()).pipe(made((trace) => traceFrames(trace, views)));
    },

    path: ({ query, period, views, id }) => {
      const { source, destination, port, protocol, moment } = query;
      const asked = {
        src: source?.trim(),
        dst: destination?.trim(),
        port,
        proto: protocol,
        at: atOf(moment ?? 'end', period),
      };
      return this.hub.path(asked, id()).pipe(made((path) => pathFrames(path, views, this.targets())));
    },

    changes: ({ query, text, period, id }) => {
      if (query.comparison === 'ends') {
        return this.hub
          .diff({ from: period.from, to: atOf('end', period) }, id())
          .pipe(made((found) => changeFrames(changesBetween(found), new Map())));
      }
      const beside = (part: string, more: string) =>
        query.edges ? this.ask(text + more, 'range', period, id(part)) : of({ data: [] });
      const nodes$ = this.ask(text, 'range', period, id());
      // edges are called by both their ends
      return forkJoin([nodes$, beside('edges', '.BothE()'), beside('ends', '.Both().Dedup()')]).pipe(
        map(([nodes, edges, ends]) => {
          const [found, related, others] = [nodes, edges, ends].map((one) => elementsOf(one.data));
          const changes = changesOf([...found, ...related], period.from, period.to);
          return { data: changeFrames(changes, namesOf([...found, ...others])), notices: nodes.notices };
        })
      );
    },
  };

  private ask(text: string, moment: Moment, period: Period, id?: string, keys?: string[]): Observable<Answer<Json>> {
    const { text: whole, at } = timed(text, moment, period);
    if (chainOf(text).dialect === 'tinkerpop') {
      return this.hub.gremlin(whole, at, id) as Observable<Answer<Json>>;
    }
    return this.hub.topology(whole, id, keys);
  }

  private targets(): Targets {
    const { uid, name, jsonData } = this.settings;
    const other = jsonData.tracesUid ? getDataSourceSrv().getInstanceSettings(jsonData.tracesUid) : undefined;
    return { own: { uid, name }, ...(other && { traces: { uid: other.uid, name: other.name } }) };
  }

  /** The values that a variable's query gives, each once; of elements their names. */
  async metricFindQuery(
    query: SkytrailVariableQuery | string,
    options: LegacyMetricFindQueryOptions = {}
  ): Promise<MetricFindValue[]> {
    const text = typeof query === 'string' ? query : query.gremlin;
    if (!text?.trim()) {
      return [];
    }
    const range: TimeRange = options.range ?? getDefaultTimeRange();
    const filled = interpolated(text, (one) => this.valueOf(one, options.scopedVars));
    const { data } = await firstValueFrom(this.ask(filled, 'end', periodOf(range, Date.now())));
    return eachOnce((Array.isArray(data) ? data : [data]).flat().flatMap(choiceOf));
  }

  async getTagKeys(): Promise<MetricFindValue[]> {
    const { Keys } = await this.completions();
    return [...Keys.nodes, ...Keys.flows.map((key) => FLOW_PREFIX + key)].map((key) => ({ text: key, value: key }));
  }

  async getTagValues({ key }: DataSourceGetTagValuesOptions<SkytrailQuery>): Promise<MetricFindValue[]> {
    const flows = key.startsWith(FLOW_PREFIX);
    const found = await this.valuesOfKey(flows ? key.slice(FLOW_PREFIX.length) : key, flows ? 'flows' : 'nodes', '');
    return found.map((value) => ({ text: value, value }));
  }

  /** Steps, predicates and keys, for a minute the same. */
  completions(): Promise<Words> {
    if (!this.words || this.words.until < Date.now()) {
      const found = firstValueFrom(this.hub.words()).then((answer) => answer.data);
      found.catch(() => (this.words = undefined));
      this.words = { until: Date.now() + WORDS_KEPT, found };
    }
    return this.words.found;
  }

  async valuesOfKey(key: string, owner: Owner, prefix: string): Promise<string[]> {
    const { data } = await firstValueFrom(this.hub.values(key, owner, prefix));
    return data.Values.map(String);
  }

  async testDatasource(): Promise<TestDataSourceResponse> {
    try {
      const { data: status } = await firstValueFrom(this.hub.status());
      if (status.service !== 'hub') {
        return {
          status: 'error',
          message: `what answers there is ${status.service ? `the ${status.service}` : 'nothing of Skytrail'}: give the hub's address, port 8082 by default`,
        };
      }
      const { store, Agents, version } = status;
      const agents = Object.values(Agents ?? {}).filter((agent) => agent.IsConnected).length;
      const waiting = await firstValueFrom(
        this.hub.readiness().pipe(
          map((answer) => answer.data.waiting),
          catchError(() => of({}))
        )
      );
      const waits = Object.entries(waiting).map(([part, reason]) => `; ${part} waits: ${reason}`);
      return {
        status: 'success',
        message: `Skytrail ${version}: ${store?.elements ?? 0} nodes and edges, ${agents} agents${waits.join('')}`,
      };
    } catch (error) {
      return { status: 'error', message: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** What each kind cannot do without. */
const NEEDS: Record<Kind, (query: SkytrailQuery) => string | undefined> = {
  graph: (query) => query.gremlin?.trim(),
  table: (query) => query.gremlin?.trim(),
  timeseries: (query) => query.gremlin?.trim(),
  flows: (query) => query.gremlin?.trim(),
  trace: (query) => query.conversation?.trim(),
  path: (query) => query.source?.trim() && query.destination?.trim(),
  changes: (query) => query.gremlin?.trim() || (query.comparison === 'ends' ? 'ends' : undefined),
};

/** An answer as frames. */
function made<T>(frames: (data: T) => DataFrame[]) {
  return map(({ data, notices }: Answer<T>): Answer<DataFrame[]> => ({ data: frames(data), notices }));
}

/** Frames that know their query; what is to be said stands beside the first. */
function named(frames: DataFrame[], refId: string, notices: QueryResultMetaNotice[]): DataFrame[] {
  return frames.map((frame, at) => ({
    ...frame,
    refId,
    meta: { ...frame.meta, notices: [...(frame.meta?.notices ?? []), ...(at ? [] : notices)] },
  }));
}

function partsOf(answer: unknown): Array<{ Nodes: Element[]; Edges: Element[] }> {
  if (Array.isArray(answer) && answer.every(isPart)) {
    return answer;
  }
  const elements = elementsOf(answer);
  return [{ Nodes: elements.filter((one) => !one.Parent), Edges: elements.filter((one) => one.Parent) }];
}

function elementsOf(answer: unknown): Element[] {
  if (answer === null) {
    return [];
  }
  if (Array.isArray(answer) && answer.every(isElement)) {
    return answer;
  }
  throw new Error("the query gives neither nodes nor edges: take Table, or a query as G.V().Has('Type', 'host')");
}

function flowsOf(answer: unknown): Flow[] {
  if (Array.isArray(answer) && answer.every((one) => typeof one === 'object' && one !== null && 'TrackingID' in one)) {
    return answer;
  }
  throw new Error('the query gives no flows: take Table, or a query as G.Flows().Limit(100)');
}

function metricsOf(answer: unknown): Metrics {
  if (Array.isArray(answer)) {
    return answer;
  }
  throw new Error(
    "the query gives no metrics over time: take Table, or a query as G.V().Has('Name', 'eth0').Metrics()"
  );
}

function choiceOf(value: Json): MetricFindValue[] {
  if (isElement(value)) {
    const name = String(value.Metadata.Name ?? value.ID);
    return [{ text: name, value: name }];
  }
  return typeof value === 'object' ? [] : [{ text: String(value), value: String(value) }];
}

function eachOnce(values: MetricFindValue[]): MetricFindValue[] {
  return [...new Map(values.map((one) => [one.text, one])).values()].sort((a, b) =>
    a.text.localeCompare(b.text, undefined, { numeric: true })
  );
}
