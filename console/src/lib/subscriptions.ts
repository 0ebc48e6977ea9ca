// What is said about subscriptions: how each is read, why it waits, what is to be done, and how its lag came about.

import { between } from './events';
import { clockDay, clockTime, figure } from './format';
import type { Range } from './ranges';
import type { Series, Stall, Subscription } from './types';

export const keyOf = (each: Subscription): string => `${each.service}/${each.name}`;

/** How its events are handed out. */
export const how = (each: Subscription): 'push' | 'stream' | 'pull' => (each.sink ? 'push' : each.streams > 0 ? 'stream' : 'pull');

export type Tone = 'good' | 'warn' | 'bad' | '';

/** Why it waits, for somebody who has never seen it. */
export const STALLS: Record<Stall, { title: string; todo: string; tone: Tone }> = {
  paused: { title: 'It is paused', todo: 'What comes waits for it and none is lost. Resume it when its consumer is ready.', tone: '' },
  'no-consumer': { title: 'Nobody reads it', todo: 'Events wait, and no process pulls or follows them. See whether its service runs; delete the subscription when it is no longer needed.', tone: 'bad' },
  retrying: { title: 'Everything that waits has failed', todo: 'It is tried again by itself. The last error says what the consumer answered.', tone: 'warn' },
  'breaker-open': { title: 'Its endpoint fails', todo: 'Hob leaves it alone and probes it now and then; deliveries go on by themselves when a probe succeeds.', tone: 'bad' },
  poisoned: { title: 'One event fails every time and holds back the rest', todo: 'Mend the consumer, or move the cursor past the event.', tone: 'bad' },
  'window-full': { title: 'Too many events are parked', todo: 'No more are taken up until some of the parked ones are done. The last error says why they fail.', tone: 'bad' },
  'cursor-expired': { title: 'Events that it had not seen are gone', todo: 'Their topic’s retention removed them. Move the cursor to the oldest event kept, and reconcile with a snapshot.', tone: 'bad' },
  damaged: { title: 'Events that it had not seen are damaged', todo: 'Move the cursor past them, and reconcile with a snapshot. hob doctor says which they are.', tone: 'bad' },
  'topic-unknown': { title: 'One of its topics is not declared', todo: 'It goes on by itself when the topic is declared; see that the name is right.', tone: 'warn' },
  'endpoint-gone': { title: 'Its endpoint asked to be left alone, or cannot be called', todo: 'Put the right address into the subscription, then resume it.', tone: 'bad' },
};

export const tone = (each: Subscription): Tone => {
  if (each.state === 'stalled') return each.stall ? STALLS[each.stall].tone || 'warn' : 'bad';
  if (each.state === 'paused') return '';
  return each.dead_letters > 0 || each.parked_keys > 0 ? 'warn' : 'good';
};

/** Hob's words, with points in time as people of here read them. */
export const words = (text: string): string => text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (time) => `${clockDay(time)} ${clockTime(time)}`);

/** Those that need somebody first; among equals by name, so that nothing jumps about. */
export function inOrder(list: readonly Subscription[]): Subscription[] {
  const rank = (each: Subscription): number => (each.state === 'stalled' ? 0 : each.dead_letters > 0 ? 1 : each.state === 'paused' ? 2 : 3);
  return list.toSorted((a, b) => rank(a) - rank(b) || keyOf(a).localeCompare(keyOf(b)));
}

/** Seconds of lag as people read them. */
export const seconds = (value: number): string => (value < 0.05 ? '0 s' : value < 1 ? `${value.toFixed(1)} s` : between(value * 1000));

/** Counts that fit an axis: `1.2 k`, `3 M`. */
export function compact(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)} k`;
  return figure(value < 10 ? value : Math.round(value));
}

/** A sample is written every ten seconds; a step always holds one. */
export const SPANS: readonly Range[] = [
  { name: '15m', label: '15 min', seconds: 900, step: 15 },
  { name: '1h', label: '1 h', seconds: 3600, step: 60 },
  { name: '6h', label: '6 h', seconds: 21_600, step: 300 },
];

/** Values of gauges by step, of those series that are wanted; a step without a sample stays empty. */
export function gauges(list: readonly Series[], name: string, subscription: string, service: string, span: Range, now: number): { time: number[]; values: (number | null)[] } {
  const last = Math.floor(now / 1000 / span.step) * span.step;
  const count = Math.floor(span.seconds / span.step);
  const time = Array.from({ length: count }, (_, index) => last - (count - 1 - index) * span.step);
  const values = new Array<number | null>(count).fill(null);
  for (const series of list) {
    const { labels } = series;
    if (series.name !== name || series.statistic !== 'gauge' || labels.subscription !== subscription || labels.service !== service) continue;
    for (const point of series.points) {
      const at = Math.round((Math.floor(Date.parse(point.time) / 1000) - (time[0] ?? 0)) / span.step);
      if (at >= 0 && at < count) values[at] = point.value;
    }
  }
  return { time, values };
}
