// Two clocks: the browser's, for ages of data, and the scope's, which may run many times faster (a simulated day).

/** Longest time for which the scope's clock is carried on without news of it. */
const CARRY_MOST = 2_000;

class Clocks {
  /** The browser's time, once a second. */
  now = $state(Date.now());
  /** The scope's time in milliseconds; the browser's while nothing is known of it. */
  scope = $state(Date.now());
  /** Scope seconds per second; 1 for a scope that lives in our time. */
  speed = $state(1);
  known = $state(false);
  #base = 0;
  #at = 0;

  constructor() {
    setInterval(() => this.#tick(), 500);
  }

  /** News of the scope's clock. */
  set(time: string): void {
    const base = Date.parse(time);
    if (Number.isNaN(base) || base === this.#base) return;
    const at = Date.now();
    if (this.#at > 0 && at - this.#at > 200 && at - this.#at < 20_000) {
      const speed = Math.max(0, (base - this.#base) / (at - this.#at));
      this.speed = this.known ? this.speed * 0.7 + speed * 0.3 : speed;
    }
    this.#base = base;
    this.#at = at;
    this.known = true;
    this.#tick();
  }

  forget(): void {
    this.#base = 0;
    this.#at = 0;
    this.known = false;
    this.speed = 1;
  }

  #tick(): void {
    this.now = Date.now();
    this.scope = this.known ? this.#base + Math.min(CARRY_MOST, this.now - this.#at) * this.speed : this.now;
  }
}

export const clocks = new Clocks();
