// From series of the API to the columns of a chart.

import type { Range } from './ranges';
import type { Series } from './types';

export interface Columns {
  /** Begin of each step, in seconds. */
  time: number[];
  /** Per second. */
  requests: (number | null)[];
  errors: (number | null)[];
  /** Seconds. */
  p50: (number | null)[];
  p99: (number | null)[];
}

export const RANGES: readonly Range[] = [
  { name: '5m', label: '5 min', seconds: 300, step: 5 },
  { name: '15m', label: '15 min', seconds: 900, step: 10 },
  { name: '1h', label: '1 h', seconds: 3600, step: 30 },
  { name: '6h', label: '6 h', seconds: 21_600, step: 180 },
];

const ofTraffic = (series: Series): 'requests' | 'errors' | 'p50' | 'p99' | undefined => {
  if (series.statistic === 'p50' || series.statistic === 'p99') return series.statistic;
  if (/error/.test(series.name)) return 'errors';
  if (/request/.test(series.name)) return 'requests';
  return undefined;
};

/**
 * Counts become rates and are summed over services; of latencies the slowest service's counts. The step that is not
 * over yet is left out: it would look like a fall. Between the first and the last step known, no count means none.
 */
export function columns(list: readonly Series[], range: Range, now: number): Columns {
  const steps = new Map<number, Partial<Record<'requests' | 'errors' | 'p50' | 'p99', number>>>();
  for (const series of list) {
    const name = ofTraffic(series);
    if (!name) continue;
    for (const point of series.points) {
      const at = Math.floor(Date.parse(point.time) / 1000 / range.step) * range.step;
      if (Number.isNaN(at) || (at + range.step) * 1000 > now) continue;
      const step = steps.get(at) ?? {};
      if (name === 'requests' || name === 'errors') {
        step[name] = (step[name] ?? 0) + (series.statistic === 'rate' ? point.value : point.value / range.step);
      } else {
        step[name] = Math.max(step[name] ?? 0, point.value);
      }
      steps.set(at, step);
    }
  }
  const times = [...steps.keys()].sort((a, b) => a - b);
  const first = times[0];
  const last = times.at(-1);
  const result: Columns = { time: [], requests: [], errors: [], p50: [], p99: [] };
  if (first === undefined || last === undefined) return result;
  for (let at = first; at <= last; at += range.step) {
    const step = steps.get(at);
    result.time.push(at);
    result.requests.push(step?.requests ?? 0);
    result.errors.push(step?.errors ?? 0);
    result.p50.push(step?.p50 ?? null);
    result.p99.push(step?.p99 ?? null);
  }
  return result;
}
