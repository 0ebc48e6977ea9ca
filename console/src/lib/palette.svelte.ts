// Everything that can be done at this moment, by name: pages add what they offer while they are shown.

/** Something that the palette can do. */
export interface Offer {
  title: string;
  /** The keys that do the same. */
  key?: string;
  /** The command that does the same. */
  cli?: string;
  run: () => void;
}

/** Offers that are listed at a time. */
const SHOWN_MOST = 40;

class Palette {
  open = $state(false);
  #sources: (() => Offer[])[] = [];

  /** Adds offers, asked for when the palette opens; call what it returns to take them away. */
  offer(source: () => Offer[]): () => void {
    this.#sources.unshift(source);
    return () => {
      this.#sources = this.#sources.filter((each) => each !== source);
    };
  }

  /** Offers in the order of their sources, the page's before those of the frame. */
  all(): Offer[] {
    return this.#sources.flatMap((source) => source());
  }
}

/** Offers of which every word begins some word of the title or stands in it; those that begin one come first. */
export function matching(offers: readonly Offer[], text: string): Offer[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const scored: { offer: Offer; score: number }[] = [];
  for (const offer of offers) {
    const title = ` ${offer.title.toLowerCase()} ${offer.cli ?? ''}`;
    let score = 0;
    for (const word of words) score += title.includes(` ${word}`) ? 0 : title.includes(word) ? 1 : Number.POSITIVE_INFINITY;
    if (score < Number.POSITIVE_INFINITY) scored.push({ offer, score });
  }
  return scored.sort((a, b) => a.score - b.score).slice(0, SHOWN_MOST).map((each) => each.offer);
}

export const palette = new Palette();
