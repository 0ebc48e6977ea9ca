// Single-key shortcuts: off inside inputs, and switchable as a whole.

const KEY = 'hob.keys';

export type Keymap = Record<string, (event: KeyboardEvent) => void>;

function readEnabled(): boolean {
  try {
    return localStorage.getItem(KEY) !== 'off';
  } catch {
    return true;
  }
}

/** What takes the space bar for itself. */
const PRESSED = 'button, summary, label, [role=button], [role=option], [role=checkbox]';
/** How long the first of two keys waits for the second. */
const SECOND = 1_200;

const typing = (element: Element | null): boolean =>
  element instanceof HTMLElement && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName));

class Keys {
  enabled = $state(readEnabled());
  #maps: Keymap[] = [];
  #prefix = '';
  #prefixed = 0;

  constructor() {
    window.addEventListener('keydown', (event) => this.#press(event));
  }

  toggle(): void {
    this.enabled = !this.enabled;
    try {
      localStorage.setItem(KEY, this.enabled ? 'on' : 'off');
    } catch {
      // The choice then lasts until the page is left.
    }
  }

  /** Adds shortcuts while a page is shown; call what it returns to take them away. Two keys are written `g l`. */
  use(map: Keymap): () => void {
    this.#maps.unshift(map);
    return () => {
      this.#maps = this.#maps.filter((each) => each !== map);
    };
  }

  #press(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.altKey) return;
    // The palette is no single key: it opens from inside a field, too, and with single keys switched off.
    if ((event.ctrlKey || event.metaKey) && event.key === 'k' && !document.querySelector('dialog[open]')) return this.#run('ctrl-k', event);
    if (event.ctrlKey || event.metaKey) return;
    // A dialog sees to its own keys.
    if (document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') return this.#run('Escape', event);
    if (!this.enabled || typing(document.activeElement)) return;
    if (event.key === ' ' && document.activeElement?.matches(PRESSED)) return;
    const key = this.#prefix && Date.now() - this.#prefixed < SECOND ? `${this.#prefix} ${event.key}` : event.key;
    this.#prefix = '';
    if (this.#maps.some((map) => Object.keys(map).some((each) => each.startsWith(`${key} `)))) {
      this.#prefix = key;
      this.#prefixed = Date.now();
      return;
    }
    this.#run(key, event);
  }

  #run(key: string, event: KeyboardEvent): void {
    for (const map of this.#maps) {
      const action = map[key];
      if (!action) continue;
      event.preventDefault();
      action(event);
      return;
    }
  }
}

export const keys = new Keys();
