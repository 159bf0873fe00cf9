/** Where a conversation went → node graph and table. Pure. */

import { DataFrame, QueryResultMetaNotice, formattedValueToString, getValueFormat } from '@grafana/data';

import { Loss, Point, Trace, Way } from '../hub/answers';
import { View } from '../types';
import { WAY_COLORS, iconOf } from './looks';
import { GraphEdge, GraphNode, detail, edgesFrame, nodesFrame } from './nodegraph';
import { tableFrame } from './table';

const nanoseconds = getValueFormat('ns');
const bytes = getValueFormat('decbytes');

export function traceFrames(trace: Trace, views: View[]): DataFrame[] {
  const frames = [...(views.includes('graph') ? graph(trace) : []), ...(views.includes('table') ? [table(trace)] : [])];
  frames[0].meta = { ...frames[0].meta, notices: said(trace) };
  return frames;
}

/** The verdict, what routers said of it, and who did not answer. */
function said(trace: Trace): QueryResultMetaNotice[] {
  const missing = Object.entries(trace.Missing).map(([host, reason]) => `${host} did not answer: ${reason}`);
  return [
    { severity: trace.Verdict.Kind === 'well' ? 'info' : 'warning', text: trace.Verdict.Text },
    ...[...trace.ICMP, ...missing].map((one) => ({ severity: 'warning' as const, text: one })),
  ];
}

function ways(trace: Trace): Array<[keyof typeof WAY_COLORS, Way]> {
  return [
    ['forth', trace.Forth],
    ['back', trace.Back],
  ];
}

function table(trace: Trace): DataFrame {
  const frame = tableFrame(
    'points',
    ways(trace).flatMap(([name, way]) =>
      way.Points.map((point, at) => ({
        Way: name,
        Point: at + 1,
        Host: point.Host,
        Namespace: point.Namespace,
        Interface: point.Interface,
        Kind: point.Type,
        Hook: point.Hook,
        Packets: point.Packets,
        Bytes: point.Bytes,
        TTL: point.TTL || null,
        'Since the point before': point.Since,
        'Round trip from the host before': point.RoundTrip,
        Tunnel: point.Tunnel
          ? `${point.Tunnel.Kind} ${point.Tunnel.Number} ${point.Tunnel.Source} → ${point.Tunnel.Destination}`
          : '',
        Source: point.Source,
        Destination: point.Destination,
        Lost: lossAfter(way, at)?.Text ?? '',
        TrackingID: point.TrackingID,
      }))
    )
  );
  for (const [name, unit] of Object.entries(UNITS)) {
    const field = frame.fields.find((one) => one.name === name);
    if (field) {
      field.config = { ...field.config, unit };
    }
  }
  return frame;
}

const UNITS = { Bytes: 'decbytes', 'Since the point before': 'ns', 'Round trip from the host before': 'ns' };

function lossAfter(way: Way, at: number): Loss | undefined {
  return way.Losses.find((loss) => loss.After === at);
}

/** An interface that saw the conversation, one way or both. */
type Place = Partial<Record<keyof typeof WAY_COLORS, Point>>;

const ARROWS = { forth: '→', back: '←' };

/** Each interface once; an edge from each point to the next; where packets vanish, a node says how many and why. */
function graph(trace: Trace): DataFrame[] {
  const places = new Map<string, Place>();
  const losses: GraphNode[] = [];
  const edges: GraphEdge[] = [];
  for (const [name, { Points, Losses }] of ways(trace)) {
    Points.forEach((point) => places.set(idOf(point), { ...places.get(idOf(point)), [name]: point }));
    Points.slice(1).forEach((point, at) => {
      const main = point.Since === null ? '' : `+${formattedValueToString(nanoseconds(point.Since))}`;
      const dashes = point.Tunnel ? '8 3' : '';
      edges.push({ ...edgeOf(`${name}-${at + 1}`, Points[at], idOf(point)), main, color: WAY_COLORS[name], dashes });
    });
    Losses.forEach((loss, at) => {
      const node = lossOf(`${name}-lost-${at + 1}`, loss);
      losses.push(node);
      const from = loss.After ?? loss.Before;
      if (from !== null && Points[from]) {
        edges.push({ ...edgeOf(`${node.id}-edge`, Points[from], node.id), color: 'red', dashes: '2 2' });
      }
    });
  }
  const seen = [...places.values()];
  const ends = (end: 'Source' | 'Destination') => [
    ...seen.map(({ forth, back }) => (forth ?? back)![end]),
    ...losses.map(() => ''),
  ];
  const details = [
    detail('source', 'Source', ends('Source')),
    detail('destination', 'Destination', ends('Destination')),
  ];
  return [nodesFrame([...seen.map(nodeOf), ...losses], details), edgesFrame(edges)];
}

/** How many packets it saw each way, and their bytes. */
function nodeOf(place: Place): GraphNode {
  const { forth, back } = place;
  const { Interface, Namespace, Host, Type } = (forth ?? back)!;
  const packets = (['forth', 'back'] as const).filter((way) => place[way]);
  return {
    id: idOf((forth ?? back)!),
    title: Interface,
    subtitle: [Namespace, Host].filter(Boolean).join(' on '),
    main: `${packets.map((way) => `${ARROWS[way]} ${place[way]!.Packets}`).join(' ')} packets`,
    secondary: formattedValueToString(bytes((forth?.Bytes ?? 0) + (back?.Bytes ?? 0))),
    icon: iconOf(Type),
    color: 'green',
  };
}

function lossOf(id: string, { Causes, Text }: Loss): GraphNode {
  const title = Causes.map((cause) => cause.Reason).join(', ') || 'lost';
  return { id, title, subtitle: Text, main: '', secondary: '', icon: 'exclamation-triangle', color: 'red' };
}

function edgeOf(id: string, from: Point, target: string): Omit<GraphEdge, 'color' | 'dashes'> {
  return { id, source: idOf(from), target, main: '', secondary: '', thickness: 2 };
}

function idOf(point: Point): string {
  return point.TID || [point.Host, point.Namespace, point.Interface].join('/');
}
