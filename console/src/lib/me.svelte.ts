// Whose token it is, read once per token: a button that would be refused says so before it is pressed.

import { get } from './api';
import { Load } from './load.svelte';
import type { Me, Role } from './types';

const RANK: readonly Role[] = ['viewer', 'operator', 'developer', 'admin'];

class Person {
  #load = new Load<Me>();

  /** Reads it once. */
  know(): void {
    if (!this.role) void this.read();
  }

  read(): Promise<void> {
    return this.#load.run(() => get<Me>('/v1/me'));
  }

  get name(): string | undefined {
    return this.#load.data?.name;
  }

  get role(): Role | undefined {
    return this.#load.data?.role;
  }

  /** Whether the role is at least this; while it is not known, the API decides. */
  may(role: Role): boolean {
    return this.role === undefined || RANK.indexOf(this.role) >= RANK.indexOf(role);
  }
}

export const me = new Person();
