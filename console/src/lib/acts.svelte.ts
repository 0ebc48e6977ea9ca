// What a person may do to issues, one or several: each call is made and answered by itself.

import { post, Problem, segment } from './api';
import { plural } from './format';
import type { View } from './live.svelte';
import { notices } from './notices.svelte';
import type { Issue, Offer } from './types';

export type Verb = 'acknowledge' | 'assign' | 'snooze' | 'resolve' | 'reopen' | 'note' | 'merge' | 'label';
/** Verbs that ask something first. */
export type Asked = 'assign' | 'snooze' | 'resolve' | 'merge' | 'note';

const PAST: Record<Verb, string> = {
  acknowledge: 'Acknowledged',
  assign: 'Assigned',
  snooze: 'Snoozed',
  resolve: 'Resolved',
  reopen: 'Opened again',
  note: 'Noted',
  merge: 'Merged',
  label: 'Labelled',
};

/** What takes a verb back, when something does. */
const BACK: Partial<Record<Verb, [Verb, Record<string, unknown>]>> = {
  resolve: ['reopen', { reason: 'taken back' }],
  snooze: ['snooze', { for: '1s', reason: 'taken back' }],
};

class Acts {
  /** Ids of issues with a call under way. */
  busy = $state.raw<ReadonlySet<string>>(new Set());
  /** What is being asked, about which issues. */
  asking = $state.raw<{ verb: Asked; issues: Issue[] } | undefined>(undefined);

  ask(verb: Asked, issues: Issue[]): void {
    const able = issues.filter((issue) => issue.state !== 'resolved' || verb === 'note');
    if (able.length > 0) this.asking = { verb, issues: able };
  }

  /** Runs a verb on each; answers with those on which it worked, as they are now. */
  async run(verb: Verb, issues: readonly Issue[], body: Record<string, unknown>, view?: View): Promise<Issue[]> {
    const able = issues.filter((issue) => !this.busy.has(issue.id) && (verb !== 'acknowledge' || issue.state === 'open'));
    const after: Issue[] = [];
    const problems: Problem[] = [];
    for (const issue of able) {
      // Whoever assigns has seen whose it was: it is taken over unless that has changed since.
      const sent = verb === 'assign' && issue.assignee ? { ...body, revision: issue.revision } : body;
      const result = await this.#call(issue, verb, sent, view).catch((error: unknown) => Problem.from(error));
      if (result instanceof Problem) {
        problems.push(result);
        notices.failed(`Could not ${verb} “${issue.title}”`, result);
      } else after.push(result);
    }
    if (after.length > 0) {
      const [first] = after as [Issue];
      const failed = problems.length > 0 ? `, ${problems.length} refused` : '';
      const what = after.length === 1 ? first.title : plural(after.length, 'issue');
      // What is to be verified first is not resolved yet.
      const waits = verb === 'resolve' && first.state !== 'resolved';
      notices.done(`${waits ? 'To be verified' : PAST[verb]}: ${what}${failed}`, waits ? undefined : this.#back(verb, after, view));
    }
    return after;
  }

  #back(verb: Verb, issues: readonly Issue[], view?: View): (() => void) | undefined {
    const back = BACK[verb];
    return back && (() => void this.run(back[0], issues, back[1], view));
  }

  /** Follows a link relation of the entity that an issue is about. */
  async act(issue: Issue, action: Offer): Promise<Issue | undefined> {
    if (this.busy.has(issue.id)) return undefined;
    try {
      const body = { ...(action.state === 'waiting' ? { action: action.action } : {}), ...(action.state === 'done' ? { again: true } : {}) };
      const after = await this.#call(issue, `actions/${segment(action.relation)}`, body);
      notices.done(`${action.state === 'waiting' ? 'Approved' : 'Asked for'}: ${action.title}`);
      return after;
    } catch (error) {
      notices.failed(`Could not do “${action.title}”`, error);
      return undefined;
    }
  }

  async #call(issue: Issue, path: string, body: Record<string, unknown>, view?: View): Promise<Issue> {
    this.busy = new Set(this.busy).add(issue.id);
    try {
      const after = await post<Issue>(`/v1/issues/${segment(issue.id)}/${path}`, body);
      const { evidence: _, ...row } = after;
      view?.put(issue.id, row);
      return after;
    } finally {
      const busy = new Set(this.busy);
      busy.delete(issue.id);
      this.busy = busy;
    }
  }
}

export const acts = new Acts();
