/** Elements → the frames of Grafana's node graph. Pure. */

import {
  DataFrame,
  FieldColorModeId,
  FieldType,
  NodeGraphDataFrameFieldNames as Names,
  QueryResultMetaNotice,
  formattedValueToString,
  getValueFormat,
} from '@grafana/data';

import { Element, JsonMap, Metric, Part, isMap, shown, valueAt, valueOf } from '../hub/answers';
import { Targets, nodeLinks } from './links';
import { ARCS, arcOf, iconOf, lineOf } from './looks';
import { Column, GraphEdge, GraphNode, detail, edgesFrame, nodesFrame } from './nodegraph';

/** What Grafana's node graph draws; of more it shows a part, slowly. */
export const MOST_NODES = 1500;

export interface GraphOptions {
  mainStat?: string;
  secondaryStat?: string;
  targets: Targets;
}

/** Keys in a node's menu, and what they are called there. */
const NODE_DETAILS: Array<[key: string, label: string]> = [
  ['Type', 'Type'],
  ['@Host', 'Host'],
  ['State', 'State'],
  ['IPV4', 'IPv4'],
  ['IPV6', 'IPv6'],
  ['MAC', 'MAC'],
  ['MTU', 'MTU'],
  ['Speed', 'Speed (Mbit/s)'],
  ['Driver', 'Driver'],
  ['VXLAN.ID', 'VNI'],
  ['K8s.Namespace', 'Namespace'],
  ['Docker.Image', 'Image'],
  ['KernelVersion', 'Kernel'],
  ['Manager', 'Manager'],
  ['TID', 'TID'],
];

const EDGE_DETAILS: Array<[key: string, label: string]> = [
  ['RelationType', 'Relation'],
  ['Kind', 'Kind'],
  ['VNI', 'VNI'],
  ['Key', 'Key'],
  ['Endpoints', 'Endpoints'],
  ['Gateway', 'Gateway'],
  ['Routes', 'Routes'],
  ['Protocol', 'Protocol'],
  ['Port', 'Port'],
  ['Direction', 'Direction'],
];

/** What stands in a node where the query does not say: the first key that it has. */
const MAIN_STATS = ['IPV4', 'K8s.Namespace', 'IPV6'];

/** The keys of Metadata that are looked at: a hub need not tell the others. */
export function keysOf({ mainStat, secondaryStat }: Pick<GraphOptions, 'mainStat' | 'secondaryStat'>): string[] {
  const every = [
    ...['Name', 'Type', 'RelationType', 'State', 'LastUpdateMetric', ...MAIN_STATS],
    ...[...NODE_DETAILS, ...EDGE_DETAILS].map(([key]) => key),
    ...[mainStat, secondaryStat].filter((key) => key !== undefined),
  ];
  return [...new Set(every.filter((key) => !key.startsWith('@')).flatMap((key) => [key, key.split('.')[0]]))];
}

/** Nodes and edges, with what is to be said beside them. An edge without both its ends is left out. */
export function graphFrames(parts: Part[], options: GraphOptions): DataFrame[] {
  const nodes = latest(parts.flatMap((part) => part.Nodes));
  const there = new Set(nodes.map((node) => node.ID));
  const edges = latest(parts.flatMap((part) => part.Edges)).filter(
    (edge) => there.has(edge.Parent!) && there.has(edge.Child!)
  );
  const frames = [
    nodesFrame(
      nodes.map((node) => nodeOf(node, options)),
      [...arcsOf(nodes), ...details(nodes, NODE_DETAILS)],
      nodeLinks(options.targets)
    ),
    edgesFrame(edges.map(edgeOf), details(edges, EDGE_DETAILS)),
  ];
  frames[0].meta = { ...frames[0].meta, notices: sized(nodes.length) };
  return frames;
}

/** What is to be said of a graph's size. */
export function sized(nodes: number): QueryResultMetaNotice[] {
  const text =
    `${nodes} nodes: Grafana draws ${MOST_NODES} at most, and is slow beyond 1,000. Ask for less, as ` +
    `G.V().Has('Type', Within('host', 'bridge')).SubGraph(), or G.V().Has('@Host', 'h1').SubGraph()`;
  return nodes > MOST_NODES ? [{ severity: 'warning', text }] : [];
}

/** Of several revisions of an element the newest, in the order in which elements came. */
function latest(elements: Element[]): Element[] {
  const found = new Map<string, Element>();
  for (const one of elements) {
    const before = found.get(one.ID);
    if (!before || before.UpdatedAt < one.UpdatedAt) {
      found.set(one.ID, one);
    }
  }
  return [...found.values()];
}

function nodeOf(node: Element, { mainStat, secondaryStat }: GraphOptions): GraphNode {
  const type = shown(node.Metadata.Type);
  return {
    id: node.ID,
    title: shown(node.Metadata.Name) || node.ID,
    subtitle: [type, node.Host].filter(Boolean).join(' · '),
    main: mainStat ? shown(valueOf(node, mainStat)) : firstOf(node),
    secondary: secondaryStat ? shown(valueOf(node, secondaryStat)) : trafficOf(node),
    icon: iconOf(type),
  };
}

function arcsOf(nodes: Element[]): Column[] {
  const arcs = nodes.map(({ Metadata }) => arcOf(shown(Metadata.Type), shown(Metadata.State)));
  return ARCS.filter((arc) => arcs.includes(arc.name)).map((arc) => ({
    name: Names.arc + arc.name,
    type: FieldType.number,
    values: arcs.map((one) => (one === arc.name ? 1 : 0)),
    config: { displayName: arc.label, color: { mode: FieldColorModeId.Fixed, fixedColor: arc.color } },
  }));
}

function edgeOf({ ID, Parent, Child, Metadata }: Element): GraphEdge {
  const main = shown(Metadata.RelationType);
  const secondary = shown(Metadata.VNI ?? Metadata.Gateway ?? Metadata.Port);
  return { id: ID, source: Parent!, target: Child!, main, secondary, ...lineOf(main) };
}

/** A field for each key that any of them has. */
function details(elements: Element[], keys: Array<[string, string]>): Column[] {
  return keys.flatMap(([key, label]) => {
    const values = elements.map((one) => shown(valueOf(one, key)));
    return values.some(Boolean) ? [detail(key.replace(/\W+/g, '_').toLowerCase(), label, values)] : [];
  });
}

function firstOf(node: Element): string {
  for (const key of MAIN_STATS) {
    const value = valueAt(node.Metadata, key);
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined && first !== null) {
      return shown(first);
    }
  }
  return '';
}

const bytesPerSecond = getValueFormat('Bps');

/** What an interface carries now, both ways. */
function trafficOf({ Metadata }: Element): string {
  const metric: JsonMap | undefined = isMap(Metadata.LastUpdateMetric) ? Metadata.LastUpdateMetric : undefined;
  const { Start, Last, RxBytes = 0, TxBytes = 0 } = (metric ?? {}) as Metric;
  return Last > Start ? formattedValueToString(bytesPerSecond(((RxBytes + TxBytes) * 1000) / (Last - Start))) : '';
}
