// Which rows of a long list are in sight: only those are drawn, the rest is empty space of the same height.

/** Rows drawn beyond each edge, so that scrolling does not show the empty space. */
const BEYOND = 6;
/** The window moves in steps, so that scrolling by a pixel draws nothing. */
const STEP = 4;
const FIRST = 24;

export class Window {
  first = $state(0);
  end = $state(FIRST);
  /** Pixels of a row; all have the same. */
  height = $state(66);
  #body: HTMLElement | undefined;
  #frame = 0;

  /** To be attached to what holds the rows and nothing else. */
  attach = (body: HTMLElement): (() => void) => {
    this.#body = body;
    const look = () => this.look();
    const observer = new ResizeObserver(look);
    observer.observe(body);
    document.addEventListener('scroll', look, { capture: true, passive: true });
    window.addEventListener('resize', look);
    look();
    return () => {
      cancelAnimationFrame(this.#frame);
      this.#frame = 0;
      observer.disconnect();
      document.removeEventListener('scroll', look, { capture: true });
      window.removeEventListener('resize', look);
      this.#body = undefined;
    };
  };

  /** Looks, with the next frame, what is in sight. */
  look(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#measure();
    });
  }

  #measure(): void {
    const body = this.#body;
    if (!body) return;
    const row = body.querySelector<HTMLElement>('[data-id]');
    if (row && row.offsetHeight > 0) this.height = row.offsetHeight;
    const scroller = scrollerOf(body);
    const clip = scroller?.getBoundingClientRect();
    const top = body.getBoundingClientRect().top;
    const from = Math.max(0, clip?.top ?? 0) - top;
    const to = Math.min(window.innerHeight, clip?.bottom ?? window.innerHeight) - top;
    this.first = Math.max(0, Math.floor((from / this.height - BEYOND) / STEP) * STEP);
    this.end = Math.max(this.first + STEP, Math.ceil((to / this.height + BEYOND) / STEP) * STEP);
  }

  /** Brings a row into sight that may not be drawn. */
  reveal(index: number): void {
    const body = this.#body;
    if (!body) return;
    const scroller = scrollerOf(body);
    const clip = scroller?.getBoundingClientRect();
    const top = body.getBoundingClientRect().top + index * this.height;
    const upper = Math.max(0, clip?.top ?? 0) + (scroller ? 34 : 110);
    const lower = Math.min(window.innerHeight, clip?.bottom ?? window.innerHeight) - 8;
    const by = top < upper ? top - upper : top + this.height > lower ? top + this.height - lower : 0;
    if (by === 0) return;
    (scroller ?? window).scrollBy({ top: by, behavior: 'instant' });
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#measure();
  }
}

function scrollerOf(element: HTMLElement): HTMLElement | undefined {
  const scroller = element.closest<HTMLElement>('[data-scroller]');
  return scroller && getComputedStyle(scroller).overflowY !== 'visible' ? scroller : undefined;
}
