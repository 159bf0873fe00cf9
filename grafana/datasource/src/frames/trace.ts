/** Where a conversation went → node graph and table. Pure. */

import {
  DataFrame,
  NodeGraphDataFrameFieldNames as Names,
  QueryResultMetaNotice,
  formattedValueToString,
  getValueFormat,
} from '@grafana/data';

import { Loss, Point, Trace, Way } from '../hub/answers';
import { View } from '../types';
import { Edge, edgeFrame } from './path';
import { graphFrame, text } from './graph';
import { iconOf } from './looks';
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

function ways(trace: Trace): Array<[string, Way]> {
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

interface Place {
  id: string;
  point: Point;
}

/** Each interface once; an edge from each point to the next; where packets vanish, a node says how many and why. */
function graph(trace: Trace): DataFrame[] {
  const places = new Map<string, Place>();
  const losses: Array<{ id: string; text: string; reasons: string }> = [];
  const edges: Edge[] = [];
  for (const [name, way] of ways(trace)) {
    const color = name === 'forth' ? 'blue' : 'orange';
    way.Points.forEach((point) => places.set(idOf(point), { id: idOf(point), point }));
    way.Points.slice(1).forEach((point, at) => {
      const main = point.Since === null ? '' : `+${formattedValueToString(nanoseconds(point.Since))}`;
      edges.push({
        id: `${name} ${at + 1}`,
        source: idOf(way.Points[at]),
        target: idOf(point),
        main,
        color,
        dashes: point.Tunnel ? '8 3' : '',
      });
    });
    way.Losses.forEach((loss, at) => {
      const id = `lost ${name} ${at + 1}`;
      losses.push({ id, text: loss.Text, reasons: loss.Causes.map((cause) => cause.Reason).join(', ') });
      const from = loss.After ?? loss.Before;
      if (from !== null && way.Points[from]) {
        edges.push({
          id: `${id} edge`,
          source: idOf(way.Points[from]),
          target: id,
          main: '',
          color: 'red',
          dashes: '2 2',
        });
      }
    });
  }
  const points = [...places.values()].map((place) => place.point);
  return [
    graphFrame('nodes', [
      text(Names.id, [...places.keys(), ...losses.map((loss) => loss.id)]),
      text(Names.title, [...points.map((point) => point.Interface), ...losses.map((loss) => loss.reasons || 'lost')]),
      text(Names.subTitle, [
        ...points.map((point) => [point.Namespace, point.Host].filter(Boolean).join(' on ')),
        ...losses.map((loss) => loss.text),
      ]),
      text(Names.mainStat, [...points.map((point) => `${point.Packets} packets`), ...losses.map(() => '')]),
      text(Names.secondaryStat, [
        ...points.map((point) => formattedValueToString(bytes(point.Bytes))),
        ...losses.map(() => ''),
      ]),
      text(Names.icon, [...points.map((point) => iconOf(point.Type)), ...losses.map(() => 'exclamation-triangle')]),
      text(Names.color, [...points.map(() => 'green'), ...losses.map(() => 'red')]),
      {
        ...text(`${Names.detail}source`, [...points.map((point) => point.Source), ...losses.map(() => '')]),
        config: { displayName: 'Source' },
      },
      {
        ...text(`${Names.detail}destination`, [...points.map((point) => point.Destination), ...losses.map(() => '')]),
        config: { displayName: 'Destination' },
      },
    ]),
    edgeFrame(edges),
  ];
}

function idOf(point: Point): string {
  return point.TID || [point.Host, point.Namespace, point.Interface].join('/');
}
