// The order of the issues on the board: it changes only while nobody points at or works in a row.

import { announcer } from './announce.svelte';
import { plural } from './format';
import { byPriority } from './tree';
import type { Issue } from './types';

const FADE = 1_200;
const RECENT_MOST = 30;

/** How many of `before` must move to come to the order of `after`: those outside the longest run that keeps its order. */
export function moved(before: readonly string[], after: readonly string[]): number {
  const place = new Map(after.map((id, index) => [id, index]));
  const tails: number[] = [];
  let common = 0;
  for (const id of before) {
    const index = place.get(id);
    if (index === undefined) continue;
    common += 1;
    let low = 0;
    let high = tails.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((tails[middle] as number) < index) low = middle + 1;
      else high = middle;
    }
    tails[low] = index;
  }
  return common - tails.length;
}

export class Board {
  /** As shown, in order; resolved ones stay for a short fade. */
  shown = $state.raw<Issue[]>([]);
  /** Whose child each issue is, as shown: a row that another issue adopts moves below it only when nothing is held. */
  parents = $state.raw<ReadonlyMap<string, string>>(new Map());
  /** Changes of order, arrivals and departures that wait. */
  pending = $state(0);
  /** Resolved while this page was open, newest first. */
  recent = $state.raw<Issue[]>([]);
  #target: Issue[] = [];
  #parents: ReadonlyMap<string, string> = new Map();
  #loaded = false;
  /** Ids of issues on their way out: nobody need apply those. */
  #fading = new Set<string>();
  #timers = new Set<ReturnType<typeof setTimeout>>();
  #opened: Issue[] = [];
  #ended = 0;
  readonly #around: (change: () => void) => void;

  /** `around` runs each change that this board makes by itself later: it may keep the focus where it was. */
  constructor(around: (change: () => void) => void) {
    this.#around = around;
  }

  /** Takes in what the view holds now; `held` keeps every row where it is. */
  take(rows: Iterable<Issue>, held: boolean, now: string): void {
    const present = new Map<string, Issue>();
    for (const issue of rows) present.set(issue.id, issue);
    const unresolved = this.#sorted(present);
    this.#count(unresolved, present, now);
    this.#target = unresolved;
    this.#parents = new Map(unresolved.flatMap((issue) => (issue.parent ? [[issue.id, issue.parent] as const] : [])));
    if (!this.#loaded || !held) return this.apply();
    const known = new Map(unresolved.map((issue) => [issue.id, issue]));
    this.shown = this.shown.map((issue) => known.get(issue.id) ?? this.#gone(issue, present, now));
    this.#wait();
  }

  /** In order; those that were there come in the order that they had, which is nearly the one that they get. */
  #sorted(present: ReadonlyMap<string, Issue>): Issue[] {
    const unresolved: Issue[] = [];
    const known = new Set<string>();
    for (const { id } of this.#target) {
      const issue = present.get(id);
      known.add(id);
      if (issue && issue.state !== 'resolved') unresolved.push(issue);
    }
    for (const issue of present.values()) if (!known.has(issue.id) && issue.state !== 'resolved') unresolved.push(issue);
    return unresolved.sort(byPriority);
  }

  /** Counts what waits. */
  #wait(): void {
    const before = this.shown.map((issue) => issue.id);
    const gone = this.shown.filter((issue) => issue.state === 'resolved' && !this.#fading.has(issue.id)).length;
    const shown = new Set(before);
    const arrived = this.#target.filter((issue) => !shown.has(issue.id)).length;
    const adopted = this.#target.filter((issue) => shown.has(issue.id) && this.parents.get(issue.id) !== this.#parents.get(issue.id)).length;
    this.pending = gone + arrived + adopted + moved(before, this.#target.map((issue) => issue.id));
  }

  /** Lets issues that the person resolved fade out although the order is held: that was asked for. */
  leave(id: string): void {
    this.#fade(new Set([id]), () => this.#wait());
  }

  #fade(ids: ReadonlySet<string>, then: () => void = () => {}): void {
    for (const id of ids) this.#fading.add(id);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      for (const id of ids) this.#fading.delete(id);
      this.#around(() => {
        this.shown = this.shown.filter((issue) => !(issue.state === 'resolved' && ids.has(issue.id)));
        then();
      });
    }, FADE);
    this.#timers.add(timer);
  }

  /** Shows everything that waits. */
  apply(): void {
    const leaving = this.#loaded ? this.shown.filter((issue) => issue.state === 'resolved') : [];
    const stay = new Set(this.#target.map((issue) => issue.id));
    const fading = leaving.filter((issue) => !stay.has(issue.id));
    this.shown = fading.length > 0 ? [...this.#target, ...fading].sort(byPriority) : this.#target;
    this.parents = this.#parents;
    this.pending = 0;
    this.#loaded = true;
    if (fading.length > 0) this.#fade(new Set(fading.map((issue) => issue.id)));
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #gone(issue: Issue, present: Map<string, Issue>, now: string): Issue {
    if (issue.state === 'resolved') return issue;
    const last = present.get(issue.id);
    return last?.state === 'resolved' ? last : { ...issue, state: 'resolved', resolved: now };
  }

  /** Notes what came and went, for the list of the recently resolved and for the announcement. */
  #count(unresolved: Issue[], present: Map<string, Issue>, now: string): void {
    if (!this.#loaded) return;
    const before = new Set(this.#target.map((issue) => issue.id));
    const after = new Set(unresolved.map((issue) => issue.id));
    const opened = unresolved.filter((issue) => !before.has(issue.id));
    const ended = this.#target.filter((issue) => !after.has(issue.id)).map((issue) => this.#gone(issue, present, now));
    if (ended.length > 0) {
      const ids = new Set(ended.map((issue) => issue.id));
      this.recent = [...ended, ...this.recent.filter((issue) => !ids.has(issue.id))].slice(0, RECENT_MOST);
      // Rows that are to leave say so until they do.
      this.shown = this.shown.map((issue) => (ids.has(issue.id) ? this.#gone(issue, present, now) : issue));
    }
    this.#opened.push(...opened);
    this.#ended += ended.length;
    if (this.#opened.length + this.#ended > 0) announcer.later(() => this.#summary());
  }

  #summary(): string {
    const highest = this.#opened.reduce((most, issue) => Math.max(most, issue.priority), 0);
    const parts: string[] = [];
    if (this.#opened.length > 0) parts.push(`${plural(this.#opened.length, 'new issue')}, highest ${highest}`);
    if (this.#ended > 0) parts.push(`${this.#ended} resolved`);
    this.#opened = [];
    this.#ended = 0;
    return parts.join('. ');
  }
}
