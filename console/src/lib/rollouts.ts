// What is said about rollouts: the states that one goes through, how far it has come, and what its gates say.

import { between } from './events';
import { latency } from './format';
import type { Release, Rollout, RolloutState } from './types';

export type GateEvidence = NonNullable<Rollout['gates']>[number];
export type Change = { change: string; what: string };

const OVER: readonly RolloutState[] = ['complete', 'failed', 'superseded'];
export const isUnderWay = (state: RolloutState): boolean => !OVER.includes(state);

/** States on the way forward and on the way back, as they follow one another. */
const FORWARD: readonly RolloutState[] = ['queued', 'prefetching', 'pre_release', 'starting', 'stepping', 'routing', 'baking', 'draining'];
const BACK: readonly RolloutState[] = ['queued', 'prefetching', 'starting', 'routing', 'draining'];

const LABELS: Partial<Record<RolloutState, string>> = {
  queued: 'queue', prefetching: 'fetch', pre_release: 'pre-release', starting: 'start', stepping: 'steps', routing: 'route', baking: 'bake', draining: 'drain',
};

/** What happens in a state, for somebody who has never seen it. */
export const WORDS: Record<RolloutState, string> = {
  queued: 'It waits for its turn.',
  prefetching: 'Every node fetches the package; nothing else has changed.',
  pre_release: 'What runs once per release does.',
  starting: 'Instances start, are warmed and become ready; no request goes there yet.',
  stepping: 'It takes a share of the requests, and its gates are watched.',
  holding: 'It stays where it is until it is sent on or back.',
  routing: 'The routers take in the new routes.',
  baking: 'It takes all requests; its gates are still watched, and the way back is open.',
  reverting: 'The requests go back to the release before.',
  draining: 'The old instances end their last requests.',
  complete: 'It takes the requests.',
  failed: 'It did not make it; the release before goes on.',
  superseded: 'A newer deploy took its place.',
};

export type Mark = 'done' | 'now' | 'held' | 'failed' | 'left' | 'ahead';

export interface Phase {
  state: RolloutState;
  label: string;
  mark: Mark;
  /** Milliseconds spent there, when it came there. */
  spent?: number;
}

/** The present state's mark among the states of the way. */
function markOf(state: RolloutState): Mark {
  if (state === 'failed' || state === 'reverting') return 'failed';
  if (state === 'holding') return 'held';
  return state === 'superseded' ? 'left' : state === 'complete' ? 'done' : 'now';
}

/** The states that it came through, the present one, and those ahead. Time held counts to the state that was held. */
export function phases(rollout: Rollout, now: number): Phase[] {
  const order = rollout.rollback ? BACK : FORWARD;
  const spent = new Map<RolloutState, number>();
  let last: RolloutState | undefined;
  const steps = rollout.steps?.length ? rollout.steps : [{ state: rollout.state, at: rollout.started }];
  steps.forEach(({ state, at }, index) => {
    if (order.includes(state)) last = state;
    else if (state !== 'holding') return;
    if (!last) return;
    const end = steps[index + 1]?.at ?? rollout.ended;
    spent.set(last, (spent.get(last) ?? 0) + Math.max(0, (end ? Date.parse(end) : now) - Date.parse(at)));
  });
  const place = last ? order.indexOf(last) : -1;
  const mark = markOf(rollout.state);
  const found: Phase[] = [];
  order.forEach((state, index) => {
    const label = LABELS[state] ?? state;
    if (spent.has(state)) found.push({ state, label, mark: state === last ? mark : index > place ? 'left' : 'done', spent: spent.get(state) ?? 0 });
    else if (index > place && isUnderWay(rollout.state) && rollout.state !== 'reverting') found.push({ state, label, mark: 'ahead' });
  });
  return found;
}

/** When it came to the state in which it is. */
export const entered = (rollout: Rollout): number => Date.parse(rollout.steps?.at(-1)?.at ?? rollout.started);

/** How much of the present state is done, from 0 to 1; nothing when nobody knows. */
export function fraction(rollout: Rollout, now: number): number | undefined {
  if (rollout.state === 'starting') return rollout.wanted > 0 ? Math.min(1, rollout.ready / rollout.wanted) : undefined;
  if (rollout.state !== 'stepping' && rollout.state !== 'baking') return undefined;
  const [from, to] = [entered(rollout), Date.parse(rollout.deadline ?? '')];
  return to > from ? Math.min(1, Math.max(0, (now - from) / (to - from))) : undefined;
}

/** What the deadline of the present state means. */
export function deadline(rollout: Rollout, now: number): string {
  if (!rollout.deadline || !isUnderWay(rollout.state)) return '';
  const left = Date.parse(rollout.deadline) - now;
  if (left < 0) return `overdue by ${between(left)}`;
  if (rollout.state === 'stepping') return `this step ends in ${between(left)}`;
  if (rollout.state === 'baking') return `ends in ${between(left)}`;
  if (rollout.state === 'holding') return `becomes a condition in ${between(left)}`;
  return `given up in ${between(left)} if it is not done`;
}

/** Where it stands, in a few words. */
export function standing(rollout: Rollout): string {
  if (rollout.state === 'starting') return `${rollout.ready} of ${rollout.wanted} ready`;
  if (rollout.state === 'stepping' || rollout.state === 'holding') return `${rollout.weight} % of the requests`;
  return rollout.state === 'baking' ? 'all requests' : '';
}

/** How long it took, or has taken. */
export const took = (rollout: Rollout, now: number): string => between((rollout.ended ? Date.parse(rollout.ended) : now) - Date.parse(rollout.started));

export const title = (rollout: Rollout): string => `${rollout.rollback ? 'Rollback' : 'Rollout'}${rollout.from ? ` from release ${rollout.from}` : ''} to release ${rollout.to}`;

export const VERDICTS: Record<GateEvidence['verdict'], { word: string; tone: string }> = {
  pass: { word: 'passes', tone: 'good' },
  fail: { word: 'fails', tone: 'bad' },
  no_data: { word: 'too little seen', tone: 'warn' },
};

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.01 ? 2 : 1).replace(/\.0$/, '')} %`;

/** A gate's figure as people read it. */
export const gateFigure = (gate: GateEvidence, value: number): string => (gate.gate === 'error_ratio' ? percent(value) : latency(value / 1000));

export const GATES: Record<string, string> = { error_ratio: 'Errors', latency: 'Latency' };

/** Whether a rollback may go there. */
export const isWayBack = (release: Release): boolean => release.state === 'standby' || release.state === 'retired';
