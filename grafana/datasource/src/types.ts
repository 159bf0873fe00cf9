import { DataSourceJsonData } from '@grafana/data';
import { DataQuery } from '@grafana/schema';

/** What a query gives; `queryType` of a query. */
export const KINDS = ['graph', 'table', 'timeseries', 'flows', 'trace', 'path', 'changes'] as const;
export type Kind = (typeof KINDS)[number];

/** Which moment of the dashboard's range is asked about. */
export const MOMENTS = ['end', 'start', 'range', 'now'] as const;
export type Moment = (typeof MOMENTS)[number];

/** How a trace and a path are shown. */
export type View = 'graph' | 'table';

/** Each change in the range, or what is otherwise at its end than at its beginning. */
export type Comparison = 'each' | 'ends';

/** A query as dashboards keep it. What a kind does not need is left out. */
export interface SkytrailQuery extends DataQuery {
  queryType?: Kind;
  /** graph, table, timeseries, flows, changes: Skydive's dialect (`G.V()…`); table and graph also TinkerPop's (`g.V()…`). */
  gremlin?: string;
  /**
   * graph, table, flows: which moment, where the text names none (At, Context). Default: `end`, for flows `range`. Up to
   * now, `end` is the graph as it is. `range`: every revision, or every flow, that was there in it.
   */
  moment?: Moment;
  /** graph: the keys below a node's name; default: what is told of each Type. */
  mainStat?: string;
  secondaryStat?: string;
  /** timeseries: counters, shown per second; default: bytes each way. */
  metrics?: string[];
  /** timeseries: name of a series: `{{Name}}`, `{{Metric}}`, `{{Network.A}}` …; keys of the element or flow. */
  legend?: string;
  /** trace: a tracking ID, a Community ID, or a filter (`host 10.0.0.1 and port 80`), which finds the latest conversation. */
  conversation?: string;
  /** path: an address, `address@host`, or a name. */
  source?: string;
  destination?: string;
  port?: number | string;
  protocol?: string;
  /** trace, path; default: `graph`. Explore shows both. */
  view?: View;
  /** changes; default: `each`. */
  comparison?: Comparison;
  /** changes: of nodes also how edges came and went. */
  edges?: boolean;
}

/** A variable's query: the values that it gives, each once. */
export interface SkytrailVariableQuery extends DataQuery {
  gremlin: string;
}

/** jsonData of a data source. What begins with `tls`, and `serverName`, is Grafana's own: its proxy reads it. */
export interface SkytrailOptions extends DataSourceJsonData {
  /** The data source that has the traces (Tempo, Jaeger): a flow's tracking ID links there. Without it, to our own trace. */
  tracesUid?: string;
  tlsAuthWithCACert?: boolean;
  tlsAuth?: boolean;
  tlsSkipVerify?: boolean;
  serverName?: string;
}

/** Kept by Grafana's server, which adds it to what it passes on. */
export interface SkytrailSecrets {
  token?: string;
  tlsCACert?: string;
  tlsClientCert?: string;
  tlsClientKey?: string;
}

/** Default texts, by kind. */
export const EXAMPLES: Record<Kind, string> = {
  graph: "G.V().Has('Type', Within('host', 'netns', 'bridge', 'veth')).SubGraph()",
  table: "G.V().Has('Type', 'host')",
  timeseries: "G.V().Has('Name', 'eth0').Metrics()",
  flows: "G.Flows().Sort(DESC, 'Last').Limit(100)",
  trace: '',
  path: '',
  changes: 'G.V()',
};

export function defaultQuery(kind: Kind): Partial<SkytrailQuery> {
  return { queryType: kind, gremlin: EXAMPLES[kind] };
}
