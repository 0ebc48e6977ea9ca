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

const typing = (element: Element | null): boolean =>
  element instanceof HTMLElement && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName));

class Keys {
  enabled = $state(readEnabled());
  #maps: Keymap[] = [];
  #prefix = '';

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
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    // A dialog sees to its own keys.
    if (document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') return this.#run('Escape', event);
    if (!this.enabled || typing(document.activeElement)) return;
    const key = this.#prefix ? `${this.#prefix} ${event.key}` : event.key;
    this.#prefix = '';
    if (key === 'g') {
      this.#prefix = 'g';
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
