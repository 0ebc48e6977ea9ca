// One websocket for all tabs of a browser: this runs as a shared worker, subscribes once to each view, and hands what
// comes to every tab that looks at it. A tab that comes later gets its snapshot from here.

import type { FromClient, Row, ToClient } from './types';

/** From a tab. */
export type ToHub = { kind: 'open'; address: string; protocols: string[] } | { kind: 'frame'; frame: FromClient } | { kind: 'alive' } | { kind: 'bye' };
/** To a tab: the socket opened, a frame came, the socket closed. */
export type FromHub = { kind: 'open' } | { kind: 'frame'; text: string } | { kind: 'close' };

/** A tab that says nothing for so long is gone: browsers wake hidden tabs once a minute. */
const SILENCE_MOST = 180_000;
const LOOK_EVERY = 30_000;

type Sub = Extract<FromClient, { frame: 'sub' }>;

/** A subscription upstream, and what its view holds. */
interface Shared {
  frame: Sub;
  /** It was asked for over the present socket. */
  asked: boolean;
  rows: Map<string, Row> | undefined;
  cursor: string;
  refused: string;
}

interface Tab {
  port: MessagePort;
  heard: number;
  /** The upstream's id of each of the tab's own. */
  ids: Map<string, string>;
}

/** Everything about one websocket. */
class Hub {
  readonly #tabs = new Set<Tab>();
  readonly #shared = new Map<string, Shared>();
  #socket: WebSocket | undefined;

  join(tab: Tab, address: string, protocols: string[]): void {
    this.#tabs.add(tab);
    if (this.#socket?.readyState === WebSocket.OPEN) return say(tab, { kind: 'open' });
    if (this.#socket?.readyState === WebSocket.CONNECTING) return;
    const socket = new WebSocket(address, protocols);
    this.#socket = socket;
    socket.onopen = () => this.#all({ kind: 'open' });
    socket.onmessage = (message) => this.#take(message.data as string);
    socket.onclose = () => this.#closed(socket);
  }

  leave(tab: Tab): void {
    for (const id of [...tab.ids.keys()]) this.#unsubscribe(tab, id);
    this.#tabs.delete(tab);
    if (this.#tabs.size > 0 || !this.#socket) return;
    this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = undefined;
  }

  get empty(): boolean {
    return this.#tabs.size === 0;
  }

  frame(tab: Tab, frame: FromClient): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    if (frame.frame === 'sub') this.#subscribe(tab, frame);
    else this.#unsubscribe(tab, frame.id);
  }

  #subscribe(tab: Tab, frame: Sub): void {
    const key = JSON.stringify([frame.view, frame.filter ?? null]);
    tab.ids.set(frame.id, key);
    const known = this.#shared.get(key);
    const shared = known ?? { frame: { frame: 'sub', id: key, view: frame.view, filter: frame.filter }, asked: false, rows: undefined, cursor: '', refused: '' };
    this.#shared.set(key, shared);
    if (!shared.asked) {
      shared.asked = true;
      shared.refused = '';
      // After a break it goes on where it was, for all tabs at once.
      this.#socket?.send(JSON.stringify(shared.rows ? { ...shared.frame, cursor: shared.cursor } : shared.frame));
    }
    if (shared.refused) say(tab, { kind: 'frame', text: JSON.stringify({ frame: 'refused', id: frame.id, reason: shared.refused }) });
    else if (shared.rows && frame.cursor !== shared.cursor) say(tab, { kind: 'frame', text: JSON.stringify({ frame: 'snap', id: frame.id, rows: [...shared.rows.values()], cursor: shared.cursor }) });
  }

  #unsubscribe(tab: Tab, id: string): void {
    const key = tab.ids.get(id);
    if (key === undefined || !tab.ids.delete(id)) return;
    for (const other of this.#tabs) for (const used of other.ids.values()) if (used === key) return;
    this.#shared.delete(key);
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ frame: 'unsub', id: key }));
  }

  #take(text: string): void {
    let frame: ToClient;
    try {
      frame = JSON.parse(text) as ToClient;
    } catch {
      return;
    }
    if (frame.frame === 'ping') return this.#all({ kind: 'frame', text });
    const shared = this.#shared.get(frame.id);
    if (!shared) return;
    if (frame.frame === 'snap') {
      shared.rows = new Map(frame.rows.map((row) => [row.id, row]));
      shared.cursor = frame.cursor;
      shared.refused = '';
    } else if (frame.frame === 'refused') shared.refused = frame.reason || 'refused';
    else {
      for (const [id, members] of frame.up) shared.rows?.set(id, merged(shared.rows.get(id), id, members));
      for (const id of frame.del) shared.rows?.delete(id);
      shared.cursor = frame.cursor;
    }
    for (const tab of this.#tabs) {
      for (const [id, key] of tab.ids) if (key === shared.frame.id) say(tab, { kind: 'frame', text: JSON.stringify({ ...frame, id }) });
    }
  }

  /** Each tab opens it again when it wants to, and subscribes again; what is known stays until then. */
  #closed(socket: WebSocket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    for (const shared of this.#shared.values()) shared.asked = false;
    for (const tab of this.#tabs) tab.ids.clear();
    this.#all({ kind: 'close' });
  }

  #all(message: FromHub): void {
    for (const tab of this.#tabs) say(tab, message);
  }
}

function merged(before: Row | undefined, id: string, members: Record<string, unknown>): Row {
  const row: Row = { ...before, ...members, id };
  for (const [name, value] of Object.entries(members)) if (value === null) delete row[name];
  return row;
}

const say = (tab: Tab, message: FromHub): void => tab.port.postMessage(message);

const hubs = new Map<string, Hub>();
const present = new Map<Tab, string>();

function gone(tab: Tab): void {
  const key = present.get(tab);
  present.delete(tab);
  if (key === undefined) return;
  const hub = hubs.get(key);
  hub?.leave(tab);
  if (hub?.empty) hubs.delete(key);
}

function connected(port: MessagePort): void {
  const tab: Tab = { port, heard: Date.now(), ids: new Map() };
  port.onmessage = ({ data }: MessageEvent<ToHub>) => {
    tab.heard = Date.now();
    if (data.kind === 'bye') return gone(tab);
    if (data.kind === 'open') {
      // Another token or another scope is another socket.
      const key = JSON.stringify([data.address, data.protocols]);
      if (present.has(tab) && present.get(tab) !== key) gone(tab);
      present.set(tab, key);
      const hub = hubs.get(key) ?? new Hub();
      hubs.set(key, hub);
      hub.join(tab, data.address, data.protocols);
    } else if (data.kind === 'frame') hubs.get(present.get(tab) ?? '')?.frame(tab, data.frame);
  };
}

setInterval(() => {
  for (const tab of [...present.keys()]) if (Date.now() - tab.heard > SILENCE_MOST) gone(tab);
}, LOOK_EVERY);

(globalThis as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const [port] = event.ports;
  if (port) connected(port);
};
