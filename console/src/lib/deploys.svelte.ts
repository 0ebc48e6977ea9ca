// The newest rollouts of each service, read when the live rows of services say that there is news.

import { get, Problem, segment } from './api';
import type { Page, Rollout, ServiceSummary } from './types';
import { isUnderWay } from './rollouts';

/** Rollouts of a service that are kept at hand. */
const MOST = 20;
/** Calls at a time. */
const AT_ONCE = 6;

export class Deploys {
  /** By service, newest first. */
  of = $state.raw<ReadonlyMap<string, Rollout[]>>(new Map());
  problem = $state.raw<Problem | undefined>(undefined);
  /** Every service was asked once. */
  loaded = $state(false);
  #seen = new Map<string, string>();
  #busy = false;

  /** Reads those of services of which something changed, or of which a rollout is under way. */
  async read(services: readonly ServiceSummary[], all = false): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const key = (each: ServiceSummary) => `${each.rollout} ${each.state} ${each.release} ${each.standby}`;
    const news = services.filter((each) => all || this.#seen.get(each.name) !== key(each) || this.isMoving(each.name));
    const wanted = news.filter((each) => each.rollout || each.release || each.state !== 'undeployed');
    try {
      const next = new Map(this.of);
      for (let from = 0; from < wanted.length; from += AT_ONCE) {
        await Promise.all(
          wanted.slice(from, from + AT_ONCE).map(async (each) => {
            const page = await get<Page<Rollout>>(`/v1/services/${segment(each.name)}/rollouts`, { limit: MOST });
            next.set(each.name, page.items);
          }),
        );
      }
      for (const each of news) this.#seen.set(each.name, key(each));
      if (wanted.length > 0) this.of = next;
      this.problem = undefined;
      this.loaded = true;
    } catch (error) {
      this.problem = Problem.from(error);
    } finally {
      this.#busy = false;
    }
  }

  newest(service: string): Rollout | undefined {
    return this.of.get(service)?.[0];
  }

  isMoving(service: string): boolean {
    return (this.of.get(service) ?? []).some((each) => isUnderWay(each.state));
  }

  /** Takes in what an own order answered, before it is read again. */
  put(rollout: Rollout): void {
    const list = this.of.get(rollout.service) ?? [];
    const known = list.some((each) => each.id === rollout.id);
    this.of = new Map(this.of).set(rollout.service, known ? list.map((each) => (each.id === rollout.id ? rollout : each)) : [rollout, ...list]);
  }
}
