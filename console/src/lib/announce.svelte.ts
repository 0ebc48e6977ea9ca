// One polite live region for the whole console: summaries at most every ten seconds, never single rows.

const EVERY = 10_000;

class Announcer {
  text = $state('');
  #last = 0;
  #waiting: (() => string) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Says what the person just did. */
  now(text: string): void {
    this.text = text;
    this.#last = Date.now();
  }

  /** Says a summary when ten seconds have passed since the last word; asks for it only then. */
  later(summary: () => string): void {
    this.#waiting = summary;
    this.#timer ??= setTimeout(() => this.#say(), Math.max(0, this.#last + EVERY - Date.now()));
  }

  #say(): void {
    this.#timer = undefined;
    const text = this.#waiting?.() ?? '';
    this.#waiting = undefined;
    if (text) this.now(text);
  }
}

export const announcer = new Announcer();
