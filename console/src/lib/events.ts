// What is said about events: their filter in the address, what changed from one to the next, what belongs together.

import { entityName, plain } from './format';
import type { Filter } from './tail.svelte';
import type { Event, LogRecord, Series } from './types';

export const FILTERS = ['topic', 'type', 'subject', 'request_id', 'from', 'to'] as const;
export const OBSERVATIONS = 'hob.observations';
const CHANGES = ['create', 'update', 'delete', 'noop'];

/** The filter that an address holds. */
export function filterOf(query: URLSearchParams): Filter {
  const filter: Filter = {};
  for (const name of FILTERS) {
    const value = query.get(name);
    if (value) filter[name] = value;
  }
  return filter;
}

/** What a notice says happened, or nothing when it is none. */
export const change = (event: Event): string | undefined => {
  const label = event.type.startsWith(`${event.topic}.`) ? event.type.slice(event.topic.length + 1) : '';
  return CHANGES.includes(label) ? label : undefined;
};

/** Who published it. */
export const publisher = (event: Event): string => event.source.replace(/^\/services\//, '');

/** A sequence as people say it. */
export const short = (sequence: string): string => sequence.replace(/^0+(?=\d)/, '');

/** An href as a person typed it: a path is one of the scope's own. */
export const hrefOf = (text: string, publicUrl?: string): string =>
  text.startsWith('/') && publicUrl ? new URL(text, publicUrl).href : text;

/** An href as it is shown: the path of one of the scope's own. */
export const hrefShown = (href: string, publicUrl?: string): string => {
  try {
    return publicUrl && new URL(href).origin === new URL(publicUrl).origin ? entityName(href) : href;
  } catch {
    return href;
  }
};

/** `240 ms`, `8 s`, `14 min`: between two things. */
export function between(milliseconds: number): string {
  const ms = Math.abs(milliseconds);
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1).replace('.0', '')} s`;
  if (ms < 60_000) return `${Math.round(ms / 1_000)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return ms < 600_000 && ms % 60_000 >= 1_000 ? `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} d`;
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${String(minutes % 60).padStart(2, '0')}`;
}

/** What Hob saw when it read an entity. */
export interface Observation {
  status?: number;
  body?: Record<string, unknown>;
  error?: string;
  cause?: string;
  clock?: string;
}

export interface Difference {
  name: string;
  before: string;
  after: string;
}

const observed = (event: Event | undefined): Observation => (event?.data ?? {}) as Observation;
const isObservation = (event: Event): boolean => event.topic === OBSERVATIONS;
const bookkeeping = (name: string): boolean => name.startsWith('_') || /^(updated|changed|modified)(_at)?$/.test(name);

/** Members that differ between two states, in the order of the newer. */
export function differences(before: Record<string, unknown> | undefined, after: Record<string, unknown> | undefined): Difference[] {
  if (!before || !after) return [];
  const names = [...new Set([...Object.keys(after), ...Object.keys(before)])].filter((name) => !bookkeeping(name));
  return names
    .filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]))
    .map((name) => ({ name, before: plain(before[name]), after: plain(after[name]) }));
}

/** A step in an entity's life: an event, and what was seen of the entity because of it. */
export interface Step {
  event: Event;
  seen?: Event;
  differs: Difference[];
  /** Milliseconds since the step before, by the same clock. */
  after?: number;
  time: string;
}

const timeOf = (event: Event): string => {
  const clock = isObservation(event) ? observed(event).clock : undefined;
  return clock && !clock.startsWith('1970') ? clock : event.time;
};

/**
 * The life of an entity, newest first. What Hob saw stands with the event that made it look. The oldest state that is
 * known is compared with nothing.
 */
export function history(events: readonly Event[]): Step[] {
  const inOrder = events.toSorted((a, b) => a.sequence.localeCompare(b.sequence));
  const known = new Map(inOrder.map((event) => [event.sequence, event]));
  const steps: Step[] = [];
  const bySequence = new Map<string, Step>();
  let state: Record<string, unknown> | undefined;
  for (const event of inOrder) {
    const cause = isObservation(event) ? observed(event).cause : undefined;
    const owner = cause && known.has(cause) ? bySequence.get(cause) : undefined;
    const body = isObservation(event) ? observed(event).body : undefined;
    const differs = differences(state, body);
    if (body) state = body;
    if (owner && !owner.seen) {
      owner.seen = event;
      owner.differs = differs;
      continue;
    }
    const step: Step = { event, differs, time: timeOf(event), ...(isObservation(event) ? { seen: event } : {}) };
    bySequence.set(event.sequence, step);
    steps.push(step);
  }
  for (let index = 1; index < steps.length; index += 1) {
    const [last, step] = [steps[index - 1], steps[index]];
    if (last && step) step.after = Date.parse(step.time) - Date.parse(last.time);
  }
  return steps.reverse();
}

/** The newest state that was seen of an entity: of a compact topic its newest data, else what Hob read. */
export function lastState(events: readonly Event[]): { event: Event; body: unknown } | undefined {
  for (const event of events.toSorted((a, b) => b.sequence.localeCompare(a.sequence))) {
    if (isObservation(event) && observed(event).body !== undefined) return { event, body: observed(event).body };
  }
  return undefined;
}

/** Something that carries a request's id, by the wall clock. */
export interface Trace {
  key: string;
  kind: 'event' | 'request' | 'log';
  /** Milliseconds. */
  from: number;
  to: number;
  service: string;
  text: string;
  bad: boolean;
  event?: Event;
  record?: LogRecord;
}

/** Everything of a request in the order in which it began; a router's record tells when the request ended. */
export function traces(events: readonly Event[], records: readonly LogRecord[]): Trace[] {
  const ofEvents = events.map((event): Trace => {
    const at = Date.parse(event.recordedtime);
    const text = `${event.type}${event.subject ? ` ${entityName(event.subject)}` : ''}`;
    return { key: `e${event.sequence}`, kind: 'event', from: at, to: at, service: publisher(event), text, bad: false, event };
  });
  // Several lines may have been stored as one.
  const ofRecords = records.map((record, index): Trace => {
    const to = Date.parse(record.time);
    const took = record.source === 'access' ? Number(record.fields?.duration_ms ?? 0) : 0;
    const kind = record.source === 'access' ? 'request' : 'log';
    return { key: `r${record.sequence}.${index}`, kind, from: to - took, to, service: record.service, text: record.message || '(empty)', bad: record.level === 'error', record };
  });
  const rank = { request: 0, log: 1, event: 2 };
  const once = new Map([...ofEvents, ...ofRecords].map((trace) => [trace.key, trace]));
  return [...once.values()].sort((a, b) => a.from - b.from || rank[a.kind] - rank[b.kind]);
}

/** Steps of the rate of topics. */
export const RATE = { steps: 60, seconds: 10 };

/** Events a second of each topic, oldest first; the step that is not over is left out. */
export function rates(list: readonly Series[], now: number): Map<string, number[]> {
  const last = Math.floor(now / 1000 / RATE.seconds) - 1;
  const found = new Map<string, number[]>();
  for (const series of list) {
    const topic = series.labels.topic;
    if (!topic || series.statistic !== 'count') continue;
    const values = found.get(topic) ?? new Array<number>(RATE.steps).fill(0);
    for (const point of series.points) {
      const at = RATE.steps - 1 - (last - Math.floor(Date.parse(point.time) / 1000 / RATE.seconds));
      if (at >= 0 && at < RATE.steps) values[at] = (values[at] ?? 0) + point.value / RATE.seconds;
    }
    found.set(topic, values);
  }
  return found;
}
