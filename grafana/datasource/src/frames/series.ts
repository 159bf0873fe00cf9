/** Metrics over a time → series of rates. Pure. */

import { DataFrame, DataFrameType, FieldType, Labels, QueryResultMetaNotice, createDataFrame } from '@grafana/data';

import { Element, Flow, Metric, Metrics, isElement, shown, valueAt, valueOf } from '../hub/answers';

/** More than these nobody tells apart; those with the most are shown. */
export const MOST_SERIES = 100;

const DEFAULTS = ['RxBytes', 'TxBytes', 'ABBytes', 'BABytes'];
const TIMES = new Set(['Start', 'Last']);
/** No counters: the largest is shown. As the hub has them (gremlin_api/skydive/metrics.py). */
const LARGEST = new Set(['RTT']);
const UNITS: Array<[RegExp, string]> = [
  [/^RTT$/, 'ns'],
  [/Bytes$/, 'Bps'],
  [/(Packets|Skbs|Segments)$/, 'pps'],
  [/./, 'cps'],
];

export interface SeriesOptions {
  from: number;
  to: number;
  /** ms: the width of a point. */
  interval: number;
  metrics?: string[];
  legend?: string;
  /** Between samples nobody looked (interfaces), rather than that there was nothing (flows). */
  sampled: boolean;
}

const KEY = /\{\{\s*([^}]+?)\s*\}\}/g;

/** The keys of Metadata by which series are called: a hub need not tell the others. */
export function keysOfNames(legend = ''): string[] {
  return ['Name', ...[...legend.matchAll(KEY)].flatMap(([, key]) => [key, key.split('.')[0]])];
}

/** Series of each counter of each element or flow. `named`: these, by which series are called. */
export function seriesFrames(metrics: Metrics, named: Array<Element | Flow>, options: SeriesOptions): DataFrame[] {
  const byId = new Map(named.map((one) => [isElement(one) ? one.ID : shown(one.UUID), one]));
  const wanted = options.metrics?.length ? options.metrics : DEFAULTS;
  const width = Math.max(1000, options.interval);
  const every = metrics
    .flatMap((one) => Object.entries(one))
    .flatMap(([id, samples]) => {
      const names = wanted.filter((name) => !TIMES.has(name) && samples.some((sample) => name in sample));
      const bins = binned(samples, names, options, width);
      return names.map((name) => ({
        id,
        name,
        values: bins.values.get(name)!,
        times: bins.times,
        total: bins.totals.get(name)!,
      }));
    });
  const shownOnes = [...every].sort((a, b) => b.total - a.total).slice(0, MOST_SERIES);
  const kept = new Set(shownOnes);
  const frames = every
    .filter((one) => kept.has(one))
    .map(({ id, name, values, times }) => {
      const labels = labelsOf(byId.get(id), id, name);
      const config = {
        unit: UNITS.find(([fits]) => fits.test(name))![1],
        displayNameFromDS: called(options.legend, byId.get(id), labels),
      };
      return createDataFrame({
        fields: [
          { name: 'Time', type: FieldType.time, values: times, config: { interval: width } },
          { name: 'Value', type: FieldType.number, values, labels, config },
        ],
        meta: { type: DataFrameType.TimeSeriesMulti, preferredVisualisationType: 'graph' },
      });
    });
  if (frames.length && every.length > MOST_SERIES) {
    frames[0].meta = { ...frames[0].meta, notices: [tooMany(every.length)] };
  }
  return frames;
}

function tooMany(many: number): QueryResultMetaNotice {
  const text = `${many} series: the ${MOST_SERIES} with the most are shown. Ask for fewer by Has(), or add .Aggregates() or .Sum()`;
  return { severity: 'warning', text };
}

/** Labels of a series; keys that both nodes and flows may have. */
function labelsOf(one: Element | Flow | undefined, id: string, metric: string): Labels {
  if (!one) {
    return { ID: id, Metric: metric };
  }
  if (isElement(one)) {
    return { Host: one.Host, Name: shown(one.Metadata.Name), ID: id, Metric: metric };
  }
  const ends = Object.fromEntries(
    ['A', 'B'].map((end) => [
      end,
      [shown(valueAt(one, `Network.${end}`) ?? valueAt(one, `Link.${end}`)), shown(valueAt(one, `Transport.${end}`))]
        .filter(Boolean)
        .join(' '),
    ])
  );
  return { ...ends, Application: shown(one.Application), TrackingID: shown(one.TrackingID), ID: id, Metric: metric };
}

/** What a series is called: `{{Key}}` are the labels or what the element has at that key. */
function called(legend: string | undefined, one: Element | Flow | undefined, labels: Labels): string {
  if (legend) {
    return legend.replace(
      KEY,
      (_, key: string) => labels[key] ?? (one ? shown(isElement(one) ? valueOf(one, key) : valueAt(one, key)) : '')
    );
  }
  if (labels.A) {
    return `${labels.A} → ${labels.B} ${labels.Metric}`;
  }
  return [labels.Host, labels.Name ?? labels.ID, labels.Metric].filter(Boolean).join(' ');
}

interface Bins {
  times: number[];
  values: Map<string, Array<number | null>>;
  totals: Map<string, number>;
}

/**
 * Samples as rates per second in slices of time: each counts in a slice for what of it lies there. Where no sample is, between
 * the first and the last, there was nothing; before and after nobody knows, nor of what is no counter.
 */
function binned(samples: Metric[], names: string[], { from, to, sampled }: SeriesOptions, width: number): Bins {
  const origin = Math.floor(from / width) * width;
  const count = Math.max(1, Math.ceil((to - origin) / width));
  const begin = samples.reduce((found, one) => Math.min(found, one.Start), Infinity);
  const end = samples.reduce((found, one) => Math.max(found, one.Last), -Infinity);
  // a slice is only as long as something is known of it
  const [since, until] = sampled ? [begin, end] : [from, to];
  const [first, last] = [slice(begin), slice(end)];
  const times = Array.from({ length: count }, (_, at) => origin + at * width);
  const values = new Map(
    names.map((name) => {
      const known = (at: number) => !LARGEST.has(name) && at >= first && at <= last;
      return [name, times.map((_, at) => (known(at) ? 0 : null)) as Array<number | null>];
    })
  );
  const totals = new Map(names.map((name) => [name, 0]));

  function slice(when: number): number {
    return Math.floor((when - origin) / width);
  }

  for (const sample of samples) {
    const length = sample.Last - sample.Start;
    for (let at = Math.max(0, slice(sample.Start)); at <= Math.min(count - 1, slice(sample.Last)); at++) {
      const part = length ? (Math.min(sample.Last, times[at] + width) - Math.max(sample.Start, times[at])) / length : 1;
      const known = (Math.min(until, times[at] + width) - Math.max(since, times[at])) / 1000;
      const seconds = known > 0 ? known : width / 1000;
      for (const name of names) {
        const value = sample[name] ?? 0;
        const found = values.get(name)!;
        if (LARGEST.has(name)) {
          found[at] = Math.max(found[at] ?? 0, value) || null; // 0: it was not measured
        } else {
          found[at] = (found[at] ?? 0) + (value * part) / seconds;
        }
        totals.set(name, totals.get(name)! + (LARGEST.has(name) ? value : value * part));
      }
    }
  }
  return { times, values, totals };
}
