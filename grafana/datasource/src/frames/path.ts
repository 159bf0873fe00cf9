/** The way of a packet by the graph → node graph and table. Pure. */

import { DataFrame, QueryResultMetaNotice } from '@grafana/data';

import { Hop, Path } from '../hub/answers';
import { View } from '../types';
import { Targets, nodeLinks } from './links';
import { WAY_COLORS, iconOf } from './looks';
import { GraphEdge, GraphNode, detail, edgesFrame, nodesFrame } from './nodegraph';
import { tableFrame } from './table';

const ARROWS = { out: '→', in: '←', through: '─' };
const ENDINGS = {
  arrives: { mark: '✔ arrives', color: 'green', icon: 'check-circle' },
  stops: { mark: '✘ stops', color: 'red', icon: 'exclamation-triangle' },
  unknown: { mark: '? unknown', color: 'yellow', icon: 'exclamation-triangle' },
} as const;

export function pathFrames(path: Path, views: View[], targets: Targets): DataFrame[] {
  const ways = [path, ...(path.Back && !path.SameBack ? [path.Back] : [])];
  const frames = [
    ...(views.includes('graph') ? graph(ways, targets) : []),
    ...(views.includes('table') ? [table(ways)] : []),
  ];
  frames[0].meta = { ...frames[0].meta, notices: said(path) };
  return frames;
}

/** How it ends, and what may fail on the way. */
function said(path: Path): QueryResultMetaNotice[] {
  const { mark } = ENDINGS[path.End.Kind];
  const size = path.Narrowest ? `; packets of up to ${path.Narrowest.MTU} bytes pass` : '';
  return [
    { severity: path.End.Kind === 'arrives' ? 'info' : 'warning', text: `${mark}: ${path.End.Reason}${size}` },
    ...path.Warnings.map((warning) => ({ severity: 'warning' as const, text: warning })),
  ];
}

function table(ways: Path[]): DataFrame {
  const frame = tableFrame(
    'hops',
    ways.flatMap((way, at) =>
      way.Hops.map((hop, place) => ({
        Way: at ? 'back' : 'forth',
        Hop: place + 1,
        Host: hop.Host,
        Namespace: hop.Namespace,
        Interface: hop.Interface,
        Direction: `${ARROWS[hop.Direction]} ${hop.Direction}`,
        Kind: hop.Kind,
        Decision: hop.Decision,
        Tunnels: hop.Depth,
        VLANs: hop.Vlans.join(', '),
        MTU: hop.MTU || null,
        State: hop.State,
        Guessed: hop.Guessed,
        TID: hop.TID,
      }))
    )
  );
  return frame;
}

/** Each interface once; an edge from each hop to the next, and one to how it ends. */
function graph(ways: Path[], targets: Targets): DataFrame[] {
  const hops = new Map<string, Hop>();
  const edges: GraphEdge[] = [];
  const ends: GraphNode[] = [];
  for (const [number, { Hops, End }] of ways.entries()) {
    const name = number ? 'back' : 'forth';
    Hops.forEach((hop) => hops.set(hop.ID, hops.get(hop.ID) ?? hop));
    Hops.slice(1).forEach((hop, at) => edges.push(edgeOf(`${name}-${at + 1}`, Hops[at], hop, WAY_COLORS[name])));
    const { mark, color, icon } = ENDINGS[End.Kind];
    const end = { id: `${name}-end`, title: mark, subtitle: End.Reason, main: '', secondary: '', icon, color };
    ends.push(end);
    const last = Hops.at(-1);
    if (last) {
      const [source, target] = [last.ID, end.id];
      edges.push({ id: `${name}-last`, source, target, main: '', secondary: '', color, dashes: '', thickness: 2 });
    }
  }
  const nodes = [...hops.values()];
  const why = [...nodes.map((hop) => hop.Decision), ...ends.map((end) => end.subtitle)];
  return [
    nodesFrame([...nodes.map(nodeOf), ...ends], [detail('decision', 'Why', why)], nodeLinks(targets)),
    edgesFrame(edges),
  ];
}

function nodeOf({ ID, Interface, Namespace, Host, Kind, MTU, State }: Hop): GraphNode {
  return {
    id: ID,
    title: Interface,
    subtitle: [Namespace, Host].filter(Boolean).join(' on '),
    main: Kind,
    secondary: MTU ? `MTU ${MTU}` : '',
    icon: iconOf(Kind),
    color: State === 'DOWN' ? 'red' : 'blue',
  };
}

function edgeOf(id: string, from: Hop, to: Hop, color: string): GraphEdge {
  const main = to.Depth ? `in ${to.Depth} tunnel${to.Depth > 1 ? 's' : ''}` : '';
  const dashes = to.Guessed ? '4 4' : '';
  return { id, source: from.ID, target: to.ID, main, secondary: '', color, dashes, thickness: 2 };
}
