/** Flows → a table. Pure. */

import { DataFrame, Field, FieldType, createDataFrame } from '@grafana/data';

import { Flow, Json, isMap, shown, valueAt } from '../hub/answers';
import { Targets, traceLinks } from './links';

interface Column {
  name: string;
  type: FieldType;
  value: (flow: Flow) => Json | undefined;
  unit?: string;
}

const at = (key: string) => (flow: Flow) => valueAt(flow, key);
const sum = (first: string, second: string) => (flow: Flow) =>
  Number(valueAt(flow, first) ?? 0) + Number(valueAt(flow, second) ?? 0);
const whose = (end: 'A' | 'B') => (flow: Flow) =>
  valueAt(flow, `Owner.${end}.Name`) ?? valueAt(flow, `Container.${end}.Name`) ?? valueAt(flow, `Process.${end}.Name`);

function endpoint(end: 'A' | 'B'): (flow: Flow) => string {
  return (flow) => {
    const address = shown(valueAt(flow, `Network.${end}`) ?? valueAt(flow, `Link.${end}`));
    const port = valueAt(flow, `Transport.${end}`);
    return port === undefined ? address : `${address.includes(':') ? `[${address}]` : address}:${port}`;
  };
}

const COLUMNS: Column[] = [
  { name: 'Last', type: FieldType.time, value: at('Last') },
  { name: 'Start', type: FieldType.time, value: at('Start') },
  { name: 'Application', type: FieldType.string, value: at('Application') },
  { name: 'A', type: FieldType.string, value: endpoint('A') },
  { name: 'B', type: FieldType.string, value: endpoint('B') },
  { name: 'Whose A', type: FieldType.string, value: whose('A') },
  { name: 'Whose B', type: FieldType.string, value: whose('B') },
  { name: 'Bytes', type: FieldType.number, value: sum('Metric.ABBytes', 'Metric.BABytes'), unit: 'decbytes' },
  { name: 'Packets', type: FieldType.number, value: sum('Metric.ABPackets', 'Metric.BAPackets'), unit: 'short' },
  { name: 'RTT', type: FieldType.number, value: at('Metric.RTT'), unit: 'ns' },
  { name: 'Finish', type: FieldType.string, value: at('FinishType') },
  { name: 'Interface', type: FieldType.string, value: at('Interface') },
  { name: 'Namespace', type: FieldType.string, value: at('Namespace') },
  { name: 'Layers', type: FieldType.string, value: at('LayersPath') },
  { name: 'NodeTID', type: FieldType.string, value: at('NodeTID') },
  { name: 'UUID', type: FieldType.string, value: at('UUID') },
];

/** What only flows have of which packets were dropped; shown where there is one. */
const OF_DROPS: Column[] = [
  {
    name: 'Dropped',
    type: FieldType.number,
    value: (flow) => dropsOf(flow).reduce((all, one) => all + one.packets, 0),
  },
  { name: 'Why', type: FieldType.string, value: (flow) => listed(dropsOf(flow).map((one) => one.reason)) },
  { name: 'Where', type: FieldType.string, value: (flow) => listed(dropsOf(flow).map((one) => one.place)) },
];

const TRACKING = 'TrackingID';

interface Drop {
  reason: string;
  place: string;
  packets: number;
}

function dropsOf({ DropsAt }: Flow): Drop[] {
  return (Array.isArray(DropsAt) ? DropsAt.filter(isMap) : []).map(({ Reason, Interface, Namespace, AB, BA }) => ({
    reason: shown(Reason),
    place: [Interface, Namespace].filter(Boolean).join(' in '),
    packets: Number(AB) + Number(BA),
  }));
}

function listed(texts: string[]): string {
  return [...new Set(texts)].filter(Boolean).join(', ');
}

export function flowFrames(flows: Flow[], targets: Targets): DataFrame[] {
  const columns = flows.some((flow) => flow.DropsAt) ? [...COLUMNS, ...OF_DROPS] : COLUMNS;
  const fields: Array<Omit<Field, 'state'>> = columns.map(({ name, type, value, unit }) => ({
    name,
    type,
    values: flows.map((flow) => value(flow) ?? null),
    config: unit ? { unit } : {},
  }));
  const tracking = flows.map((flow) => shown(flow[TRACKING]));
  fields.push({ name: TRACKING, type: FieldType.string, values: tracking, config: { links: traceLinks(targets) } });
  return [createDataFrame({ name: 'flows', fields, meta: { preferredVisualisationType: 'table' } })];
}
