// The switch that stops every action, whoever or whatever wanted it.

import { get, post } from './api';
import { notices } from './notices.svelte';
import { Polled } from './polled.svelte';
import type { ActionsState } from './types';

const EVERY = 5_000;

class Switch {
  /** A reason is being asked for. */
  asking = $state(false);
  #state = new Polled(() => get<ActionsState>('/v1/actions/state'), EVERY);
  #after = $state.raw<ActionsState | undefined>(undefined);

  get paused(): ActionsState['paused'] {
    return (this.#after ?? this.#state.data)?.paused;
  }

  get known(): boolean {
    return this.#state.data !== undefined;
  }

  start(): () => void {
    return this.#state.start();
  }

  async turn(to: 'pause' | 'resume', reason: string): Promise<void> {
    try {
      this.#after = await post<ActionsState>(`/v1/actions/${to}`, { reason });
      notices.done(to === 'pause' ? 'All actions are stopped' : 'Actions may be done again');
      this.asking = false;
      await this.#state.read();
    } catch (error) {
      notices.failed(`Actions could not be ${to === 'pause' ? 'stopped' : 'let go on'}`, error);
    } finally {
      this.#after = undefined;
    }
  }
}

export const actionsSwitch = new Switch();
