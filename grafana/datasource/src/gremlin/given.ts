/** What a query of Skydive's dialect gives, as far as its text tells; and texts made of it. Pure. */

import { Chain, Step, chainOf, isNamed, literal } from './text';

export type Given = 'graph' | 'nodes' | 'edges' | 'flows' | 'part' | 'paths' | 'metrics' | 'other';

/** What a step makes of what it is given; those that do not stand here leave it as it is. */
const GIVES: Record<string, Given> = {
  v: 'nodes',
  out: 'nodes',
  in: 'nodes',
  both: 'nodes',
  inv: 'nodes',
  outv: 'nodes',
  bothv: 'nodes',
  descendants: 'nodes',
  ascendants: 'nodes',
  neighbors: 'nodes',
  nodes: 'nodes',
  node: 'nodes',
  hops: 'nodes',
  capturenode: 'nodes',
  e: 'edges',
  oute: 'edges',
  ine: 'edges',
  bothe: 'edges',
  flows: 'flows',
  subgraph: 'part',
  shortestpathto: 'paths',
  metrics: 'metrics',
  count: 'other',
  values: 'other',
  valuemap: 'other',
  keys: 'other',
  sum: 'other',
  sockets: 'other',
  nexthop: 'other',
  group: 'other',
  rawpackets: 'other',
};

/** Steps that order, cut or end what came before: conditions of others stand in front of them. */
const CLOSING = [
  ...[
    'Sort',
    'Limit',
    'Range',
    'Dedup',
    'Count',
    'Values',
    'ValueMap',
    'Keys',
    'Sum',
    'Metrics',
    'Aggregates',
    'Sockets',
  ],
  ...['SubGraph', 'ShortestPathTo', 'NextHop', 'Group', 'MoreThan', 'RawPackets', 'BPF', 'As', 'Select'],
];

export function given(steps: Step[]): Given {
  return steps.reduce<Given>((before, step) => GIVES[step.name.toLowerCase()] ?? before, 'graph');
}

/** The steps before the first that closes; how many. */
function opening(chain: Chain): number {
  const at = chain.steps.findIndex((step) => isNamed(step, ...CLOSING));
  return at < 0 ? chain.steps.length : at;
}

/** A condition beside others, as a dashboard's ad-hoc filters say it. */
export interface Condition {
  key: string;
  operator: string;
  value: string;
  values?: string[];
}

/** Keys of flows among those of nodes: `Flow.Application`. */
export const FLOW_PREFIX = 'Flow.';

const PREDICATES: Record<string, (one: Condition) => string> = {
  '=': (one) => oneOf([one.value]),
  '!=': (one) => noneOf([one.value]),
  '<': (one) => `LT(${scalar(one.value)})`,
  '<=': (one) => `LTE(${scalar(one.value)})`,
  '>': (one) => `GT(${scalar(one.value)})`,
  '>=': (one) => `GTE(${scalar(one.value)})`,
  '=~': (one) => `Regex(${literal(one.value)})`,
  '=|': (one) => oneOf(one.values ?? [one.value]),
  '!=|': (one) => noneOf(one.values ?? [one.value]),
};

function oneOf(values: string[]): string {
  const meant = meantBy(values);
  return meant.length === 1 ? meant[0] : `Within(${meant.join(', ')})`;
}

function noneOf(values: string[]): string {
  const meant = meantBy(values);
  return meant.length === 1 ? `NE(${meant[0]})` : `Without(${meant.join(', ')})`;
}

/** Grafana has each value as a text: 80 may be a port, or somebody's name. */
function meantBy(values: string[]): string[] {
  return values.flatMap((one) => (scalar(one).startsWith("'") ? [scalar(one)] : [scalar(one), literal(one)]));
}

/** A number as a number, which texts of numbers are not equal to; in quotes it is a text. */
function scalar(value: string): string {
  if (/^-?(0|[1-9]\d{0,14})(\.\d+)?$/.test(value)) {
    return value;
  }
  return /^(true|false)$/.test(value) ? value.toUpperCase() : literal(value.replace(/^"(.*)"$/s, '$1'));
}

/**
 * The text with conditions on what it finds, before that is ordered, cut or counted. Of flows those of flows, of nodes the
 * others; a text that finds neither is left as it is.
 *
 * @throws Error an operator is not known.
 */
export function withConditions(text: string, conditions: Condition[]): string {
  const chain = chainOf(text);
  const many = opening(chain);
  const kind = given(chain.steps.slice(0, many));
  const fitting = conditions.filter((one) => kind === (one.key.startsWith(FLOW_PREFIX) ? 'flows' : 'nodes'));
  if (chain.dialect !== 'skydive' || !fitting.length) {
    return text;
  }
  const said = fitting.map((one) => {
    const predicate = PREDICATES[one.operator];
    if (!predicate) {
      throw new Error(
        `the filter's operator ${one.operator} is not known here: use ${Object.keys(PREDICATES).join(', ')}`
      );
    }
    const key = kind === 'flows' ? one.key.slice(FLOW_PREFIX.length) : one.key;
    return `.Has(${literal(key)}, ${predicate(one)})`;
  });
  const at = chain.steps[many - 1].end;
  return text.slice(0, at) + said.join('') + text.slice(at);
}

/** The text whose answer is a graph: nodes and edges with what connects them. */
export function asGraph(text: string): string {
  const chain = chainOf(text);
  const kind = given(chain.steps);
  return chain.dialect === 'skydive' && ['nodes', 'edges', 'paths'].includes(kind)
    ? `${text.trimEnd()}.SubGraph()`
    : text;
}

/** A text about metrics, and what they are of. */
export interface Measured {
  text: string;
  /** Finds the elements or flows, each once; none: the metrics are of no single one. */
  named?: string;
  of: Given;
}

/** The text that asks for metrics, if need be of what it finds. */
export function measured(text: string): Measured {
  const whole = text.trimEnd();
  const chain = chainOf(whole);
  const at = chain.steps.findIndex((step) => isNamed(step, 'Metrics'));
  const before = at < 0 ? chain.steps : chain.steps.slice(0, at);
  const of = given(before);
  const found = whole.slice(0, before.at(-1)?.end ?? chain.source);
  const joined = at >= 0 && chain.steps.slice(at + 1).some((step) => isNamed(step, 'Aggregates', 'Sum'));
  const named = joined ? undefined : of === 'flows' ? found : `${found}.Dedup()`;
  return { text: at < 0 ? `${whole}.Metrics()` : whole, named, of };
}
