// The event log as a list, newest first: a page of what was, then everything that comes, without loss or repeat.

import { follow, get, nextCursor, Problem } from './api';
import type { Event, Page, Status } from './types';

const PAGE = 100;
/** Pages read in one go while they hold nothing: one call looks through a bounded part of the log. */
const READS_MOST = 8;
/** Events kept in the browser; older ones are read again when asked for. */
export const KEPT = 2_000;
const RETRY_FIRST = 500;
const RETRY_MOST = 8_000;
/** A stream sends a heartbeat every two seconds. */
const SILENCE_MOST = 15_000;

export type Filter = Partial<Record<'topic' | 'type' | 'subject' | 'request_id' | 'from' | 'to', string>>;
export type Following = 'no' | 'connecting' | 'live' | 'broken';

const padded = (sequence: number): string => String(sequence).padStart(20, '0');

export class Tail {
  /** What is shown, newest first. */
  events = $state.raw<Event[]>([]);
  /** What came since and waits to be shown, newest first. */
  waiting = $state.raw<Event[]>([]);
  loaded = $state(false);
  problem = $state.raw<Problem | undefined>(undefined);
  following = $state<Following>('no');
  /** Where the next older page begins; empty when the oldest event is shown. */
  older = $state('');
  busy = $state(false);
  /** Everything came up to here. */
  head = $state('');
  #filter: Filter = {};
  #arrived: Event[] = [];
  #stop = new AbortController();
  #heard = 0;
  /** The head when the page began; empty when nothing is followed. */
  #began = '';

  /** Forgets what there was and begins with the newest events that the filter means. */
  async start(filter: Filter): Promise<void> {
    this.stop();
    const { signal } = (this.#stop = new AbortController());
    this.#filter = filter;
    this.#arrived = [];
    this.events = this.waiting = [];
    this.loaded = false;
    this.problem = undefined;
    this.older = '';
    this.busy = true;
    try {
      // The log up to its present head is read in pages, everything later comes by the stream: each once.
      this.head = padded((await get<Status>('/v1/status', {}, signal)).events);
      this.#began = filter.to ? '' : this.head;
      if (!filter.to) void this.#follow(signal);
      await this.#page(signal);
      if (!signal.aborted) this.loaded = true;
    } catch (error) {
      if (!signal.aborted) this.problem = Problem.from(error);
    } finally {
      if (!signal.aborted) this.busy = false;
    }
  }

  stop(): void {
    this.#stop.abort();
    this.following = 'no';
    this.busy = false;
  }

  /** Reads on towards the beginning of the log. */
  async more(): Promise<void> {
    const { signal } = this.#stop;
    if (this.busy || !this.older) return;
    this.busy = true;
    try {
      await this.#page(signal);
    } finally {
      if (!signal.aborted) this.busy = false;
    }
  }

  async #page(signal: AbortSignal): Promise<void> {
    for (let reads = 0; reads < READS_MOST; reads += 1) {
      const page = await get<Page<Event>>('/v1/events', { ...this.#filter, order: 'desc', limit: PAGE, cursor: this.older }, signal);
      if (signal.aborted) return;
      const began = this.#began;
      this.events = [...this.events, ...(began ? page.items.filter((event) => event.sequence <= began) : page.items)];
      this.older = nextCursor(page);
      if (page.items.length > 0 || !this.older) return;
    }
  }

  /** Takes over what arrived; shows it unless it is held back. */
  flush(held: boolean): void {
    if (this.following === 'live' && Date.now() - this.#heard > SILENCE_MOST) this.#heard = 0;
    if (this.#arrived.length > 0) {
      this.waiting = [...this.#arrived.reverse(), ...this.waiting];
      this.#arrived = [];
      // More than can be kept waits: what is shown is given up, so that nothing is missing in between.
      if (this.waiting.length > KEPT) held = false;
    }
    if (!held) this.show();
  }

  /** Shows what waits. */
  show(): void {
    if (this.waiting.length === 0) return;
    const all = [...this.waiting, ...this.events];
    this.waiting = [];
    this.events = all.slice(0, KEPT);
    // A page's cursor is the sequence that it goes on before.
    if (all.length > KEPT) this.older = String(Number(this.events.at(-1)?.sequence));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for (let attempts = 0; !signal.aborted; attempts += 1) {
      this.following = attempts === 0 ? 'connecting' : 'broken';
      const attempt = new AbortController();
      const watch = setInterval(() => this.following === 'live' && this.#heard === 0 && attempt.abort(), 1_000);
      try {
        await follow('/v1/events', { ...this.#filter, after: this.head }, (frame) => {
          attempts = 0;
          this.following = 'live';
          this.#heard = Date.now();
          this.#take(frame.event, frame.data);
        }, AbortSignal.any([signal, attempt.signal]));
      } catch (error) {
        if (signal.aborted) break;
        const problem = Problem.from(error);
        // What is wrong with the question does not mend itself.
        if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) {
          this.problem = problem;
          break;
        }
      } finally {
        clearInterval(watch);
      }
      if (signal.aborted) return;
      this.following = 'broken';
      await new Promise((resolve) => setTimeout(resolve, Math.min(RETRY_MOST, RETRY_FIRST * 2 ** attempts)));
    }
    if (!signal.aborted) this.following = 'no';
  }

  #take(name: string, data: string): void {
    if (name === 'event') {
      const event = JSON.parse(data) as Event;
      if (event.sequence <= this.head) return;
      this.#arrived.push(event);
      this.head = event.sequence;
    } else if (name === 'heartbeat') {
      const { head } = JSON.parse(data) as { head: string };
      if (head > this.head) this.head = head;
    }
  }
}
