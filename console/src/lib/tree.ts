// The queue as lines: issues that another one has adopted stand below it, once it is opened.

import type { Issue } from './types';

/** A line of the queue. */
export interface Line {
  issue: Issue;
  /** How far it stands in. */
  depth: number;
  /** Issues below it that are on the board. */
  below: number;
  expanded: boolean;
}

/** A group in a group in a group is as deep as it goes. */
const DEPTH_MOST = 3;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The most urgent first; what sleeps comes after what does not. */
export const byPriority = (a: Issue, b: Issue): number =>
  Number(a.snoozed !== undefined) - Number(b.snoozed !== undefined) || b.priority - a.priority || compare(a.opened, b.opened) || compare(a.id, b.id);

/** Whether it stands for a rule that opened too many. */
export const isStorm = (issue: Issue): boolean => issue.storm === true;

/** Lines in the order of `list`; `parents` says whose child an issue is as far as the board shows. */
export function lines(list: readonly Issue[], parents: ReadonlyMap<string, string>, expanded: ReadonlySet<string>): Line[] {
  if (parents.size === 0) return list.map((issue) => ({ issue, depth: 0, below: 0, expanded: false }));
  const present = new Set(list.map((issue) => issue.id));
  const below = new Map<string, Issue[]>();
  const roots: Issue[] = [];
  for (const issue of list) {
    const parent = parents.get(issue.id);
    if (parent === undefined || parent === issue.id || !present.has(parent)) roots.push(issue);
    else if (below.has(parent)) below.get(parent)?.push(issue);
    else below.set(parent, [issue]);
  }
  const found: Line[] = [];
  const seen = new Set<string>();
  const add = (issue: Issue, depth: number): void => {
    if (seen.has(issue.id)) return;
    seen.add(issue.id);
    const children = below.get(issue.id) ?? [];
    const open = children.length > 0 && expanded.has(issue.id);
    found.push({ issue, depth, below: children.length, expanded: open });
    if (open) for (const child of children) add(child, Math.min(DEPTH_MOST, depth + 1));
  };
  for (const issue of roots) add(issue, 0);
  return found;
}
