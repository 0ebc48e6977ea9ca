// A long list that comes in pages: more of it as somebody scrolls, and what is in sight again and again.

import { get, nextCursor, Problem } from './api';
import type { Page } from './types';

const PAGE = 200;
/** Rows that are kept; whoever wants others filters. */
export const ROWS_MOST = 10_000;

interface Part<T> {
  cursor: string;
  items: T[];
}

export class Rows<T> {
  items = $state.raw<T[]>([]);
  total = $state<number | undefined>(undefined);
  problem = $state.raw<Problem | undefined>(undefined);
  loaded = $state(false);
  busy = $state(false);
  /** When it was last read, by this browser's clock. */
  at = $state(0);
  #parts: Part<T>[] = [];
  #next = '';
  #turn = 0;
  readonly #path: string;
  readonly #parameters: () => Record<string, string>;

  constructor(path: string, parameters: () => Record<string, string>) {
    this.#path = path;
    this.#parameters = parameters;
  }

  get more(): boolean {
    return this.#next !== '' && this.items.length < ROWS_MOST;
  }

  /** Begins anew: another filter, another kind. What was there stays in sight until the first page has come. */
  async restart(): Promise<void> {
    const turn = ++this.#turn;
    await this.#read(turn, '', (page) => {
      this.#parts = [{ cursor: '', items: page.items }];
      this.#next = nextCursor(page);
      this.loaded = true;
    });
  }

  forget(): void {
    this.#turn += 1;
    this.#parts = [];
    this.#next = '';
    this.items = [];
    this.loaded = this.busy = false;
    this.problem = undefined;
  }

  async readMore(): Promise<void> {
    if (this.busy || !this.more) return;
    const cursor = this.#next;
    await this.#read(this.#turn, cursor, (page) => {
      this.#parts.push({ cursor, items: page.items });
      this.#next = nextCursor(page);
    });
  }

  /** Reads the pages again of which rows from `first` to `end` are in sight. */
  async refresh(first: number, end: number): Promise<void> {
    if (this.busy || !this.loaded) return;
    let from = 0;
    for (const part of [...this.#parts]) {
      const to = from + part.items.length;
      if (from < end && (to > first || part.items.length === 0)) {
        await this.#read(this.#turn, part.cursor, (page) => {
          part.items = page.items;
          if (part === this.#parts.at(-1)) this.#next = nextCursor(page);
        });
      }
      from = to;
    }
  }

  async #read(turn: number, cursor: string, take: (page: Page<T> & { total?: number }) => void): Promise<void> {
    this.busy = true;
    try {
      const page = await get<Page<T> & { total?: number }>(this.#path, { ...this.#parameters(), cursor, limit: PAGE });
      if (turn !== this.#turn) return;
      take(page);
      this.total = page.total;
      this.items = this.#parts.flatMap((part) => part.items);
      this.problem = undefined;
      this.at = Date.now();
    } catch (error) {
      if (turn === this.#turn) this.problem = Problem.from(error);
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  }
}
