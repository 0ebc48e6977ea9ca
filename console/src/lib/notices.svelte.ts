// Short words about what the person just did: done, or why not; what can be taken back says so for as long as it can.

import { announcer } from './announce.svelte';
import { Problem } from './api';

const SHOWN_FOR = 5_000;
const MOST = 3;

export interface Notice {
  id: number;
  text: string;
  problem?: Problem;
  /** Takes back what was done. */
  undo?: () => void;
}

class Notices {
  list = $state.raw<Notice[]>([]);
  #last = 0;

  done(text: string, undo?: () => void): void {
    const notice = this.#add({ id: ++this.#last, text, undo });
    setTimeout(() => this.dismiss(notice.id), SHOWN_FOR);
  }

  failed(text: string, error: unknown): void {
    this.#add({ id: ++this.#last, text, problem: Problem.from(error) });
  }

  /** Takes back the newest of what can be. */
  undo(notice = this.list.findLast((each) => each.undo)): void {
    if (!notice?.undo) return;
    this.dismiss(notice.id);
    notice.undo();
  }

  dismiss(id: number): void {
    this.list = this.list.filter((each) => each.id !== id);
  }

  #add(notice: Notice): Notice {
    this.list = [...this.list, notice].slice(-MOST);
    announcer.now(notice.problem ? `${notice.text}: ${notice.problem.title}` : notice.text);
    return notice;
  }
}

export const notices = new Notices();
