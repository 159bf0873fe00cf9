/** The way of a packet by the graph → node graph and table. Pure. */

import { DataFrame, FieldType, NodeGraphDataFrameFieldNames as Names, QueryResultMetaNotice } from '@grafana/data';

import { Hop, Path } from '../hub/answers';
import { View } from '../types';
import { Targets, nodeLinks } from './links';
import { graphFrame, text } from './graph';
import { iconOf } from './looks';
import { tableFrame } from './table';

const ARROWS = { out: '→', in: '←', through: '─' };
const ENDINGS = {
  arrives: { mark: '✔ arrives', color: 'green' },
  stops: { mark: '✘ stops', color: 'red' },
  unknown: { mark: '? unknown', color: 'yellow' },
};

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
  const edges: Edge[] = [];
  const ends: End[] = [];
  for (const [number, way] of ways.entries()) {
    way.Hops.forEach((hop) => hops.set(hop.ID, hops.get(hop.ID) ?? hop));
    const name = number ? 'back' : 'forth';
    way.Hops.slice(1).forEach((hop, at) => edges.push(edge(`${name} ${at + 1}`, way.Hops[at], hop, name)));
    const last = way.Hops.at(-1);
    const id = `end ${name}`;
    ends.push({
      id,
      title: ENDINGS[way.End.Kind].mark,
      subtitle: way.End.Reason,
      color: ENDINGS[way.End.Kind].color,
      arrives: way.End.Kind === 'arrives',
    });
    if (last) {
      const color = ENDINGS[way.End.Kind].color;
      edges.push({ id: `${name} end`, source: last.ID, target: id, main: '', color, dashes: '' });
    }
  }
  const nodes = [...hops.values()];
  return [
    graphFrame('nodes', [
      {
        ...text(Names.id, [...nodes.map((hop) => hop.ID), ...ends.map((end) => end.id)]),
        config: { links: nodeLinks(targets) },
      },
      text(Names.title, [...nodes.map((hop) => hop.Interface), ...ends.map((end) => end.title)]),
      text(Names.subTitle, [
        ...nodes.map((hop) => [hop.Namespace, hop.Host].filter(Boolean).join(' on ')),
        ...ends.map((end) => end.subtitle),
      ]),
      text(Names.mainStat, [...nodes.map((hop) => hop.Kind), ...ends.map(() => '')]),
      text(Names.secondaryStat, [...nodes.map((hop) => (hop.MTU ? `MTU ${hop.MTU}` : '')), ...ends.map(() => '')]),
      text(Names.icon, [
        ...nodes.map((hop) => iconOf(hop.Kind)),
        ...ends.map((end) => (end.arrives ? 'check-circle' : 'exclamation-triangle')),
      ]),
      text(Names.color, [
        ...nodes.map((hop) => (hop.State === 'DOWN' ? 'red' : 'blue')),
        ...ends.map((end) => end.color),
      ]),
      {
        ...text(`${Names.detail}decision`, [...nodes.map((hop) => hop.Decision), ...ends.map((end) => end.subtitle)]),
        config: { displayName: 'Why' },
      },
    ]),
    edgeFrame(edges),
  ];
}

interface End {
  id: string;
  title: string;
  subtitle: string;
  color: string;
  arrives: boolean;
}

export interface Edge {
  id: string;
  source: string;
  target: string;
  main: string;
  color: string;
  dashes: string;
}

function edge(id: string, from: Hop, to: Hop, way: string): Edge {
  const tunnel = to.Depth ? `in ${to.Depth} tunnel${to.Depth > 1 ? 's' : ''}` : '';
  return {
    id,
    source: from.ID,
    target: to.ID,
    main: tunnel,
    color: way === 'forth' ? 'blue' : 'orange',
    dashes: to.Guessed ? '4 4' : '',
  };
}

export function edgeFrame(edges: Edge[]): DataFrame {
  return graphFrame('edges', [
    text(
      Names.id,
      edges.map((one) => one.id)
    ),
    text(
      Names.source,
      edges.map((one) => one.source)
    ),
    text(
      Names.target,
      edges.map((one) => one.target)
    ),
    text(
      Names.mainStat,
      edges.map((one) => one.main)
    ),
    text(
      Names.color,
      edges.map((one) => one.color)
    ),
    text(
      Names.strokeDasharray,
      edges.map((one) => one.dashes)
    ),
    { name: Names.thickness, type: FieldType.number, values: edges.map(() => 2), config: {} },
  ]);
}
