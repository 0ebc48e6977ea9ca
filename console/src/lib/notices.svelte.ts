// Short words about what the person just did: done, or why not.

import { announcer } from './announce.svelte';
import { Problem } from './api';

const SHOWN_FOR = 5_000;
const MOST = 3;

export interface Notice {
  id: number;
  text: string;
  problem?: Problem;
}

class Notices {
  list = $state.raw<Notice[]>([]);
  #last = 0;

  done(text: string): void {
    const notice = this.#add({ id: ++this.#last, text });
    setTimeout(() => this.dismiss(notice.id), SHOWN_FOR);
  }

  failed(text: string, error: unknown): void {
    this.#add({ id: ++this.#last, text, problem: Problem.from(error) });
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
