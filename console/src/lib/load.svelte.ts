// What a GET returned: nothing yet, data (perhaps old), or a problem.

import { Problem } from './api';

export class Load<T> {
  data = $state.raw<T | undefined>(undefined);
  problem = $state.raw<Problem | undefined>(undefined);
  busy = $state(false);
  #turn = 0;

  /** Runs a call; of several under way the last one asked for counts. Data stays while a later call fails. */
  async run(call: () => Promise<T>): Promise<void> {
    const turn = ++this.#turn;
    this.busy = true;
    try {
      const data = await call();
      if (turn !== this.#turn) return;
      this.data = data;
      this.problem = undefined;
    } catch (error) {
      if (turn === this.#turn) this.problem = Problem.from(error);
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  }

  /** Forgets everything, also what is under way. */
  reset(): void {
    this.#turn += 1;
    this.data = undefined;
    this.problem = undefined;
    this.busy = false;
  }
}
