// The way to the server: one websocket that all tabs share, or where a browser has no shared workers, one of its own.

import HubWorker from './hub?sharedworker';
import type { FromHub, ToHub } from './hub';
import type { FromClient } from './types';

const ALIVE_EVERY = 20_000;

/** What `live` needs of a socket. */
export interface Wire {
  onopen: (() => void) | undefined;
  onframe: ((text: string) => void) | undefined;
  onclose: (() => void) | undefined;
  /** It cannot be opened again: another one is to be made. */
  readonly spent: boolean;
  /** Opens it, also again after it closed. */
  open(): void;
  send(frame: FromClient): void;
  close(): void;
}

/** A shared worker could not be loaded: every later wire is one of its own. */
let alone = typeof SharedWorker === 'undefined';

class OwnWire implements Wire {
  onopen: (() => void) | undefined;
  onframe: ((text: string) => void) | undefined;
  onclose: (() => void) | undefined;
  readonly spent = false;
  #socket: WebSocket | undefined;

  constructor(
    readonly address: string,
    readonly protocols: string[],
  ) {}

  open(): void {
    this.close();
    const socket = new WebSocket(this.address, this.protocols);
    this.#socket = socket;
    socket.onopen = () => this.onopen?.();
    socket.onmessage = (message) => this.onframe?.(message.data as string);
    socket.onclose = () => this.onclose?.();
  }

  send(frame: FromClient): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  close(): void {
    if (!this.#socket) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = undefined;
  }
}

class SharedWire implements Wire {
  onopen: (() => void) | undefined;
  onframe: ((text: string) => void) | undefined;
  onclose: (() => void) | undefined;
  spent = false;
  #port: MessagePort;
  #open = false;
  #timer: ReturnType<typeof setInterval>;

  constructor(
    worker: SharedWorker,
    readonly address: string,
    readonly protocols: string[],
  ) {
    this.#port = worker.port;
    this.#port.onmessage = ({ data }: MessageEvent<FromHub>) => {
      if (data.kind === 'open') {
        this.#open = true;
        this.onopen?.();
      } else if (data.kind === 'close') this.#closed();
      else this.onframe?.(data.text);
    };
    // It cannot be loaded: after an upgrade perhaps.
    worker.onerror = () => {
      alone = this.spent = true;
      this.#closed();
    };
    this.#timer = setInterval(() => this.#say({ kind: 'alive' }), ALIVE_EVERY);
    window.addEventListener('pagehide', this.#bye);
    window.addEventListener('pageshow', this.#back);
  }

  open(): void {
    this.#say({ kind: 'open', address: this.address, protocols: this.protocols });
  }

  send(frame: FromClient): void {
    if (this.#open) this.#say({ kind: 'frame', frame });
  }

  close(): void {
    clearInterval(this.#timer);
    window.removeEventListener('pagehide', this.#bye);
    window.removeEventListener('pageshow', this.#back);
    this.#bye();
    this.#port.onmessage = null;
    this.#port.close();
  }

  #closed(): void {
    this.#open = false;
    this.onclose?.();
  }

  #bye = (): void => this.#say({ kind: 'bye' });

  /** The page was kept by the browser and is shown again: the worker took it for gone. */
  #back = (event: PageTransitionEvent): void => {
    if (event.persisted) this.#closed();
  };

  #say(message: ToHub): void {
    this.#port.postMessage(message);
  }
}

export function wire(address: string, protocols: string[]): Wire {
  try {
    if (!alone) return new SharedWire(new HubWorker({ name: 'hob' }), address, protocols);
  } catch {
    // Some browsers have them and forbid them; a socket of its own does as well.
    alone = true;
  }
  return new OwnWire(address, protocols);
}
