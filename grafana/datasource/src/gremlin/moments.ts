/** A dashboard's range of time as a query says it. Pure. */

import { TimeRange } from '@grafana/data';

import { Moment } from '../types';
import { Dialect, chainOf, isNamed } from './text';

/** ms since the epoch. `live`: it ends now, so that what is there now is asked for as such. */
export interface Period {
  from: number;
  to: number;
  live: boolean;
}

/** @param now ms since the epoch. */
export function periodOf(range: TimeRange, now: number): Period {
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  return { from, to, live: range.raw.to === 'now' || to >= now };
}

/** The text, and the request's `at` of TinkerPop's dialect. */
export interface Timed {
  text: string;
  at?: string;
}

/** The text about a moment, unless it names one itself. */
export function timed(text: string, moment: Moment, period: Period): Timed {
  const chain = chainOf(text);
  if (chain.dialect === 'tinkerpop') {
    return { text, at: AT.tinkerpop[moment](period) };
  }
  const [first] = chain.steps;
  const said = AT.skydive[moment](period);
  if (chain.dialect !== 'skydive' || !said || isNamed(first, 'At', 'Context')) {
    return { text };
  }
  return { text: `${text.slice(0, chain.source)}.At(${said})${text.slice(chain.source)}` };
}

/** What of `at` other routes are asked with; none: now. */
export function atOf(moment: Moment, period: Period): string | undefined {
  return AT.tinkerpop[moment](period)?.split('/').pop();
}

type Said = (period: Period) => string | undefined;

const AT: Record<Dialect, Record<Moment, Said>> = {
  skydive: {
    now: () => undefined,
    end: ({ to, live }) => (live ? undefined : `${to}`),
    start: ({ from }) => `${from}`,
    range: ({ from, to, live }) => `${live ? 'NOW' : to}, ${Math.max(1, Math.ceil((to - from) / 1000))}`,
  },
  tinkerpop: {
    now: () => undefined,
    end: ({ to, live }) => (live ? undefined : `${to}`),
    start: ({ from }) => `${from}`,
    range: ({ from, to, live }) => `${from}/${live ? 'now' : to}`,
  },
};
