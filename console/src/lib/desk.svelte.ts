// What somebody at the board looks at and works on: the filter, the lines, the row with the focus, the marked ones.

import { acts, type Asked, type Verb } from './acts.svelte';
import type { Board } from './board.svelte';
import { me } from './me.svelte';
import { nav } from './nav.svelte';
import { type Line, lines } from './tree';
import type { Issue } from './types';
import type { View } from './live.svelte';

/** Which issues are listed, beside all. */
export const SHOWS = ['open', 'acknowledged', 'mine', 'snoozed'] as const;

const belongs = (issue: Issue, show: string): boolean => {
  if (show === '') return true;
  if (show === 'snoozed') return issue.snoozed !== undefined;
  if (show === 'mine') return me.name !== undefined && issue.assignee === me.name;
  return issue.state === show || (issue.state === 'resolved' && show === 'open');
};

const says = (issue: Issue, text: string): boolean =>
  [issue.title, issue.rule, issue.about, issue.id, issue.assignee ?? ''].some((each) => each.toLowerCase().includes(text));

export class Desk {
  /** Parents whose children show. */
  expanded = $state.raw<ReadonlySet<string>>(new Set());
  /** Marked rows, by id: they stay marked wherever they move to. */
  marked = $state.raw<ReadonlySet<string>>(new Set());
  /** The row with the focus. */
  focused = $state('');
  #anchor = '';

  constructor(
    readonly board: Board,
    readonly view: View,
  ) {}

  readonly text = $derived(nav.get('q').toLowerCase());
  readonly show = $derived(nav.get('state'));
  readonly selected = $derived(nav.get('issue'));
  readonly filtered = $derived(this.text !== '' || this.show !== '');

  readonly lines: Line[] = $derived.by(() => {
    const { shown, parents } = this.board;
    if (!this.filtered) return lines(shown, parents, this.expanded);
    // Whoever looks for something sees every match, also those within a group.
    return shown
      .filter((issue) => belongs(issue, this.show) && (this.text === '' || says(issue, this.text)))
      .map((issue) => ({ issue, depth: 0, below: 0, expanded: false }));
  });

  readonly current = $derived(
    this.lines.find((line) => line.issue.id === this.focused)?.issue.id ??
      this.lines.find((line) => line.issue.id === this.selected)?.issue.id ??
      this.lines[0]?.issue.id,
  );

  readonly counts = $derived.by(() => {
    const counts = { '': 0, open: 0, acknowledged: 0, mine: 0, snoozed: 0 };
    for (const issue of this.board.shown) {
      if (issue.state === 'resolved') continue;
      counts[''] += 1;
      counts[issue.state] += 1;
      if (belongs(issue, 'mine')) counts.mine += 1;
      if (issue.snoozed) counts.snoozed += 1;
    }
    return counts;
  });

  issue(id: string | undefined): Issue | undefined {
    return id === undefined ? undefined : (this.board.shown.find((each) => each.id === id) ?? this.board.recent.find((each) => each.id === id));
  }

  index(id: string | undefined): number {
    return this.lines.findIndex((line) => line.issue.id === id);
  }

  toggle(id: string, open = !this.expanded.has(id)): void {
    const expanded = new Set(this.expanded);
    if (open) expanded.add(id);
    else expanded.delete(id);
    this.expanded = expanded;
  }

  mark(id: string | undefined): void {
    if (id === undefined) return;
    const marked = new Set(this.marked);
    if (!marked.delete(id)) marked.add(id);
    this.marked = marked;
    this.#anchor = id;
  }

  /** Marks everything between the row marked last and this one. */
  markTo(id: string | undefined): void {
    const to = this.index(id);
    const from = this.index(this.#anchor);
    if (to < 0 || from < 0) return this.mark(id);
    const range = this.lines.slice(Math.min(from, to), Math.max(from, to) + 1).map((line) => line.issue.id);
    this.marked = new Set([...this.marked, ...range]);
  }

  unmark(): void {
    this.marked = new Set();
  }

  /** What a verb is about: the marked rows, else the one with the focus, else the open issue. */
  subjects(inside: boolean): Issue[] {
    if (this.marked.size > 0) return this.board.shown.filter((issue) => this.marked.has(issue.id) && issue.state !== 'resolved');
    const issue = this.issue(inside ? this.current : this.selected || this.current);
    return issue && issue.state !== 'resolved' ? [issue] : [];
  }

  ask(verb: Asked, inside: boolean): void {
    acts.ask(verb, this.subjects(inside));
  }

  async run(verb: Verb, issues: readonly Issue[], body: Record<string, unknown>): Promise<Issue[]> {
    const after = await acts.run(verb, issues, body, this.view);
    if (verb === 'resolve' || verb === 'merge') for (const issue of after) this.board.leave(issue.id);
    if (after.length > 0 && issues.length > 1) this.unmark();
    return after;
  }
}
