// What a person may do to an issue.

import { post, segment } from './api';
import type { View } from './live.svelte';
import { notices } from './notices.svelte';
import type { Issue } from './types';

class Acts {
  /** Ids of issues with a call under way. */
  busy = $state.raw<ReadonlySet<string>>(new Set());
  /** The issue whose reason for resolving is being typed, and where. */
  resolving = $state.raw<{ id: string; place: 'row' | 'pane' } | undefined>(undefined);

  async acknowledge(issue: Issue, view: View): Promise<Issue | undefined> {
    if (issue.state !== 'open') return undefined;
    return this.#act(issue, view, 'acknowledge', {}, `Acknowledged: ${issue.title}`);
  }

  async resolve(issue: Issue, reason: string, view: View): Promise<Issue | undefined> {
    if (issue.state === 'resolved') return undefined;
    const after = await this.#act(issue, view, 'resolve', { reason }, `Resolved: ${issue.title}`);
    if (after && this.resolving?.id === issue.id) this.resolving = undefined;
    return after;
  }

  async #act(issue: Issue, view: View, verb: string, body: unknown, done: string): Promise<Issue | undefined> {
    if (this.busy.has(issue.id)) return undefined;
    this.busy = new Set(this.busy).add(issue.id);
    try {
      const after = await post<Issue>(`/v1/issues/${segment(issue.id)}/${verb}`, body);
      const { evidence: _, ...row } = after;
      view.put(issue.id, row);
      notices.done(done);
      return after;
    } catch (error) {
      notices.failed(`Could not ${verb} “${issue.title}”`, error);
      return undefined;
    } finally {
      const busy = new Set(this.busy);
      busy.delete(issue.id);
      this.busy = busy;
    }
  }
}

export const acts = new Acts();
