// A part of a page that is read again and again, while somebody looks at it.

import { live } from './live.svelte';
import { Load } from './load.svelte';
import type { Problem } from './api';

const STALE_TIMES = 4;

export class Polled<T> {
  #load = new Load<T>();
  /** When it was last read, by this browser's clock. */
  at = $state(0);
  readonly #call: () => Promise<T>;
  readonly #every: number;

  constructor(call: () => Promise<T>, every: number) {
    this.#call = call;
    this.#every = every;
  }

  get data(): T | undefined {
    return this.#load.data;
  }

  get problem(): Problem | undefined {
    return this.#load.problem;
  }

  /** This Hob has no such thing to ask for: the part is left out. */
  get absent(): boolean {
    return this.data === undefined && (this.problem?.status === 404 || this.problem?.status === 405);
  }

  /** Whether what is shown is older than it should be. */
  isStale(now: number): boolean {
    return this.data !== undefined && this.problem !== undefined && now - this.at > STALE_TIMES * this.#every;
  }

  read = async (): Promise<void> => {
    await this.#load.run(this.#call);
    if (!this.#load.problem) this.at = Date.now();
  };

  /** Reads now and from now on; call what it returns to end that. */
  start(): () => void {
    void this.read();
    const timer = setInterval(() => {
      if (!live.paused && !document.hidden && !this.#load.busy && !this.absent) void this.read();
    }, this.#every);
    return () => clearInterval(timer);
  }
}
