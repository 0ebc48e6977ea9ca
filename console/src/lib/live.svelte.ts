// One wire for all views: it subscribes, resumes by cursor after a break, and hands changes on at most 4 times a second.

import { get } from './api';
import { nav } from './nav.svelte';
import { session } from './session.svelte';
import type { FromClient, Row, ToClient } from './types';
import { type Wire, wire } from './wire';

const FLUSH_EVERY = 250;
const RETRY_FIRST = 500;
const RETRY_MOST = 8_000;
/** The server pings more often than this when nothing happens. */
const SILENCE_MOST = 45_000;
const SETTLED = 1_000;

export type Connection = 'connecting' | 'live' | 'reconnecting';

/** The rows of one subscription. */
export class View {
  readonly id: string;
  readonly view: string;
  readonly filter: string | undefined;
  /** The rows as shown: a row object is replaced when it changes, and only then. */
  rows = $state.raw<ReadonlyMap<string, Row>>(new Map());
  /** A snapshot came. */
  loaded = $state(false);
  refused = $state('');
  /** Counts changes; for effects that only need to know that there was one. */
  turn = $state(0);
  cursor: string | undefined;
  #next = new Map<string, Row>();
  #dirty = false;

  constructor(id: string, view: string, filter?: string) {
    this.id = id;
    this.view = view;
    this.filter = filter;
  }

  /** Takes a frame in; it shows with the next flush. */
  take(frame: ToClient): void {
    if (frame.frame === 'snap') {
      this.#next = new Map(frame.rows.map((row) => [row.id, row]));
      this.refused = '';
    } else if (frame.frame === 'patch') {
      for (const [id, members] of frame.up) this.#merge(id, members);
      for (const id of frame.del) this.#next.delete(id);
    } else if (frame.frame === 'refused') {
      this.refused = frame.reason || 'refused';
      return;
    } else {
      return;
    }
    this.cursor = frame.cursor;
    this.#dirty = true;
  }

  #merge(id: string, members: Record<string, unknown>): void {
    const row: Row = { ...this.#next.get(id), ...members, id };
    for (const [name, value] of Object.entries(members)) if (value === null) delete row[name];
    this.#next.set(id, row);
  }

  /** Shows what an own action brought about, before the server's patch says the same. */
  put(id: string, members: Record<string, unknown>): void {
    if (!this.#next.has(id)) return;
    this.#merge(id, members);
    this.rows = new Map(this.rows).set(id, this.#next.get(id) as Row);
    this.turn += 1;
  }

  /** Shows rows that came by another way while there is no socket; the next snapshot replaces them. */
  seed(rows: Row[]): void {
    if (this.loaded) return;
    this.#next = new Map(rows.map((row) => [row.id, row]));
    this.#dirty = true;
    this.flush();
  }

  /** Forgets everything: what comes next is of another scope. */
  reset(): void {
    this.cursor = undefined;
    this.refused = '';
    this.loaded = false;
    this.rows = new Map();
    this.#next = new Map();
    this.#dirty = false;
  }

  flush(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.rows = new Map(this.#next);
    this.loaded = true;
    this.turn += 1;
  }
}

class Live {
  connection = $state<Connection>('connecting');
  paused = $state(false);
  /** Seconds until the next attempt to connect. */
  retryIn = $state(0);
  /** How often the connection broke or could not be made. */
  tries = $state(0);
  /** When something last came, by this browser's clock. */
  heard = $state(0);
  /** Set while the server cannot be reached at all. */
  down = $state(false);

  #wire: Wire | undefined;
  /** The address and the token that the wire is for. */
  #wired = '';
  #views = new Map<string, View>();
  #users = new Map<string, number>();
  #attempts = 0;
  #retryAt = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #scope = '';
  #since = 0;

  /** Opens the socket for the present token and scope; again when one of them changed. */
  start(): void {
    const scope = `${session.token} ${JSON.stringify(nav.scope)}`;
    if (scope === this.#scope) return;
    this.#scope = scope;
    this.#attempts = 0;
    for (const view of this.#views.values()) view.reset();
    this.#timer ??= setInterval(() => this.#tick(), FLUSH_EVERY);
    this.#connect();
  }

  stop(): void {
    this.#scope = '';
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#drop();
    this.connection = 'connecting';
  }

  /** A view of this name and filter; give it back with `leave`. */
  enter(view: string, filter?: string): View {
    const id = filter === undefined ? view : `${view} ${filter}`;
    let entry = this.#views.get(id);
    if (!entry) {
      entry = new View(id, view, filter);
      this.#views.set(id, entry);
      this.#subscribe(entry);
    }
    this.#users.set(id, (this.#users.get(id) ?? 0) + 1);
    return entry;
  }

  leave(view: View): void {
    const users = (this.#users.get(view.id) ?? 1) - 1;
    this.#users.set(view.id, users);
    if (users > 0) return;
    this.#users.delete(view.id);
    this.#views.delete(view.id);
    this.#send({ frame: 'unsub', id: view.id });
  }

  /** What the button beside the state means at this moment. */
  press(): void {
    if (this.connection !== 'live') this.retryNow();
    // Whoever wanted to connect again just as it happened did not want to pause.
    else if (this.paused || Date.now() - this.#since > SETTLED) this.togglePause();
  }

  togglePause(): void {
    this.paused = !this.paused;
    if (!this.paused) this.#flush();
  }

  retryNow(): void {
    if (this.connection !== 'live') this.#connect();
  }

  #send(frame: FromClient): void {
    this.#wire?.send(frame);
  }

  #subscribe(view: View): void {
    const frame: FromClient = { frame: 'sub', id: view.id, view: view.view };
    if (view.filter !== undefined) frame.filter = view.filter;
    if (view.cursor !== undefined) frame.cursor = view.cursor;
    this.#send(frame);
  }

  #drop(): void {
    const wire = this.#wire;
    this.#wire = undefined;
    if (!wire) return;
    wire.onopen = wire.onframe = wire.onclose = undefined;
    wire.close();
  }

  #connect(): void {
    const query = new URLSearchParams(nav.scope as Record<string, string>).toString();
    const origin = location.origin.replace(/^http/, 'ws');
    const address = `${origin}/v1/live${query ? `?${query}` : ''}`;
    const key = `${address} ${session.token}`;
    if (this.#wire?.spent || key !== this.#wired) this.#drop();
    this.#wired = key;
    this.#wire ??= this.#made(address);
    this.#retryAt = 0;
    this.#wire.open();
  }

  #made(address: string): Wire {
    const made = wire(address, ['hob.v1', `bearer.${session.token}`]);
    made.onopen = () => {
      this.#attempts = 0;
      this.connection = 'live';
      this.down = false;
      this.#since = this.heard = Date.now();
      for (const view of this.#views.values()) this.#subscribe(view);
    };
    made.onframe = (text) => this.#take(text);
    made.onclose = () => this.#closed();
    return made;
  }

  #closed(): void {
    this.connection = 'reconnecting';
    const wait = Math.min(RETRY_MOST, RETRY_FIRST * 2 ** this.#attempts) * (0.8 + 0.4 * Math.random());
    this.#attempts += 1;
    this.tries += 1;
    this.#retryAt = Date.now() + wait;
    this.retryIn = Math.ceil(wait / 1000);
    // A browser does not say why a websocket failed; a plain call does: a refused token shows the sign-in page.
    get('/v1/status').then(
      () => (this.down = false),
      (problem: { status?: number }) => (this.down = problem.status === 0),
    );
  }

  #take(text: string): void {
    let frame: ToClient;
    try {
      frame = JSON.parse(text) as ToClient;
    } catch {
      return;
    }
    this.heard = Date.now();
    if (frame.frame === 'ping') return;
    const view = this.#views.get(frame.id);
    if (!view) return;
    view.take(frame);
    if (!view.loaded) view.flush();
  }

  #tick(): void {
    const now = Date.now();
    if (!this.paused) this.#flush();
    if (this.connection === 'live' && now - this.heard > SILENCE_MOST) {
      this.#drop();
      this.#closed();
    }
    if (this.#retryAt > 0) {
      this.retryIn = Math.max(0, Math.ceil((this.#retryAt - now) / 1000));
      if (now >= this.#retryAt) this.#connect();
    }
  }

  #flush(): void {
    for (const view of this.#views.values()) view.flush();
  }
}

export const live = new Live();
