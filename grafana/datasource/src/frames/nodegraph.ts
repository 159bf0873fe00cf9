/** The frames that Grafana's node graph panel takes, whatever their nodes and edges are. Pure. */

import {
  DataFrame,
  DataLink,
  Field,
  FieldType,
  IconName,
  NodeGraphDataFrameFieldNames as Names,
  createDataFrame,
} from '@grafana/data';

/** A field of a frame, before a panel has it. */
export type Column = Omit<Field, 'state'>;

export interface GraphNode {
  id: string;
  title: string;
  subtitle: string;
  /** Statistics, in the circle. */
  main: string;
  secondary: string;
  /** In the circle where there are no statistics: the panel shows the one or the others. */
  icon: IconName;
  /** One of CSS; none: arcs have theirs. */
  color?: string;
}

export interface GraphEdge {
  /** Without blanks: an edge refers to its arrowhead by it, in a url(). */
  id: string;
  source: string;
  target: string;
  /** Statistics, shown where somebody points at it. */
  main: string;
  secondary: string;
  /** One of CSS: the panel knows no others here, and draws nothing for them. */
  color: string;
  dashes: string;
  thickness: number;
}

type Texts<T> = Array<[name: Names, value: (one: T) => string]>;

const OF_NODES: Texts<GraphNode> = [
  [Names.id, (node) => node.id],
  [Names.title, (node) => node.title],
  [Names.subTitle, (node) => node.subtitle],
  [Names.mainStat, (node) => node.main],
  [Names.secondaryStat, (node) => node.secondary],
  [Names.icon, (node) => (node.main || node.secondary ? '' : node.icon)],
];

const OF_EDGES: Texts<GraphEdge> = [
  [Names.id, (edge) => edge.id],
  [Names.source, (edge) => edge.source],
  [Names.target, (edge) => edge.target],
  [Names.mainStat, (edge) => edge.main],
  [Names.secondaryStat, (edge) => edge.secondary],
  [Names.color, (edge) => edge.color],
  [Names.strokeDasharray, (edge) => edge.dashes],
];

/** @param more arcs and details. */
export function nodesFrame(nodes: GraphNode[], more: Column[], links: DataLink[] = []): DataFrame {
  const [id, ...rest] = columns(nodes, OF_NODES);
  const colors = nodes.map((node) => node.color ?? '');
  const colored = colors.some(Boolean) ? [text(Names.color, colors)] : [];
  return frame('nodes', [{ ...id, config: { links } }, ...rest, ...colored, ...more]);
}

/** @param more details. */
export function edgesFrame(edges: GraphEdge[], more: Column[] = []): DataFrame {
  const values = edges.map((edge) => edge.thickness);
  const thickness = { name: Names.thickness, type: FieldType.number, values, config: {} };
  return frame('edges', [...columns(edges, OF_EDGES), thickness, ...more]);
}

/** What stands in the menu of a node or an edge, under this name. */
export function detail(key: string, displayName: string, values: string[]): Column {
  return { ...text(Names.detail + key, values), config: { displayName } };
}

function columns<T>(all: T[], texts: Texts<T>): Column[] {
  return texts.map(([name, value]) => text(name, all.map(value)));
}

function text(name: string, values: string[]): Column {
  return { name, type: FieldType.string, values, config: {} };
}

function frame(name: 'nodes' | 'edges', fields: Column[]): DataFrame {
  return createDataFrame({ name, fields, meta: { preferredVisualisationType: 'nodeGraph' } });
}
