// Where a cursor would go, and what that means: how many events are handed out again, or passed.

import { gather, get, nextCursor } from './api';
import type { Event, Page, Subscription } from './types';

export type Place = 'start' | 'end' | 'time' | 'seq' | 'id';

const PAGE = 1_000;
/** Pages that are counted; more than that is told as "more than". */
const PAGES_MOST = 10;

export interface Outcome {
  /** Handed out again, or passed over; nothing when it stays. */
  direction: 'again' | 'passed' | 'none';
  count: number;
  /** There are more than were counted. */
  more: boolean;
  /** The event after which it would stand. */
  after: string;
}

const padded = (sequence: number): string => String(Math.max(0, sequence)).padStart(20, '0');

/** What stands in the body of the request. */
export const at = (place: Place, value: string): string => (place === 'start' || place === 'end' ? place : `${place}:${place === 'time' ? new Date(value).toISOString() : value.trim()}`);

const meant = (subscription: Subscription) => ({ topic: subscription.topics.join(','), type: (subscription.types ?? []).join(',') });

/** Events that the subscription means after `after`, up to `upto`. */
async function count(subscription: Subscription, after: string, upto: string, signal: AbortSignal): Promise<{ count: number; more: boolean }> {
  let found = 0;
  let cursor = '';
  for (let pages = 0; pages < PAGES_MOST; pages += 1) {
    const page = await get<Page<Event>>('/v1/events', { ...meant(subscription), after, limit: PAGE, cursor }, signal);
    const within = page.items.filter((event) => event.sequence <= upto);
    found += within.length;
    cursor = nextCursor(page);
    if (within.length < page.items.length || !cursor) return { count: found, more: false };
  }
  return { count: found, more: true };
}

/** The sequence after which the cursor would stand; nothing when no such place is found. */
async function target(subscription: Subscription, place: Place, value: string, signal: AbortSignal): Promise<string | undefined> {
  if (place === 'start') return padded(0);
  if (place === 'seq') return /^\d{1,20}$/.test(value.trim()) ? value.trim().padStart(20, '0') : undefined;
  if (place === 'id') return (await gather<Event>('/v1/events', { id: value.trim() }, 1, signal)).items[0]?.sequence;
  const time = new Date(value);
  if (Number.isNaN(time.getTime())) return undefined;
  const first = (await gather<Event>('/v1/events', { ...meant(subscription), from: time.toISOString() }, 1, signal)).items[0];
  return first && padded(Number(first.sequence) - 1);
}

/** What would happen; nothing when there is no such place. */
export async function foresee(subscription: Subscription, place: Place, value: string, signal: AbortSignal): Promise<Outcome | undefined> {
  if (place === 'end') {
    return { direction: subscription.lag_events > 0 ? 'passed' : 'none', count: subscription.lag_events, more: false, after: '' };
  }
  const after = await target(subscription, place, value, signal);
  if (after === undefined) return undefined;
  if (after === subscription.cursor) return { direction: 'none', count: 0, more: false, after };
  const back = after < subscription.cursor;
  const [low, high] = back ? [after, subscription.cursor] : [subscription.cursor, after];
  const counted = await count(subscription, low, high, signal);
  return { direction: counted.count === 0 ? 'none' : back ? 'again' : 'passed', ...counted, after };
}
