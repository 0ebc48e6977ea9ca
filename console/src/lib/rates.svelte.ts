// How fast counters rise: agents tell processor time since the start, and people want to know what is used now.

/** The part of the newest measure in what is shown, so that a bar does not twitch. */
const NEWEST = 0.5;

interface Seen {
  value: number;
  at: number;
  rate: number | undefined;
}

export class Rates {
  #seen = new Map<string, Seen>();
  /** Per second, by id; an id of which one value was seen has none. */
  now = $state.raw<ReadonlyMap<string, number>>(new Map());

  /** Takes in the present values; those that did not change say nothing, because nothing was reported. */
  take(values: Iterable<readonly [string, number]>, at: number): void {
    const present = new Set<string>();
    for (const [id, value] of values) {
      present.add(id);
      const seen = this.#seen.get(id);
      if (!seen || value < seen.value) this.#seen.set(id, { value, at, rate: undefined });
      else if (value !== seen.value || at - seen.at > 5_000) {
        const rate = at > seen.at ? ((value - seen.value) / (at - seen.at)) * 1000 : 0;
        this.#seen.set(id, { value, at, rate: seen.rate === undefined ? rate : seen.rate * (1 - NEWEST) + rate * NEWEST });
      }
    }
    for (const id of this.#seen.keys()) if (!present.has(id)) this.#seen.delete(id);
    this.now = new Map([...this.#seen].flatMap(([id, { rate }]) => (rate === undefined ? [] : [[id, rate] as const])));
  }
}
