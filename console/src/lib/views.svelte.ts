// Views of tables that somebody gave a name: what the address says, kept by the browser.

const KEY = 'hob.views';
const MOST = 40;

export interface SavedView {
  name: string;
  /** The kind of entity that it lists. */
  kind: string;
  /** Filter, columns and order, as the address has them. */
  query: string;
}

function stored(): SavedView[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(list) ? (list as SavedView[]).filter((each) => typeof each?.name === 'string' && typeof each.kind === 'string' && typeof each.query === 'string') : [];
  } catch {
    return [];
  }
}

class Views {
  list = $state.raw<SavedView[]>(stored());

  of(kind: string): SavedView[] {
    return this.list.filter((each) => each.kind === kind);
  }

  save(view: SavedView): void {
    this.#keep([...this.list.filter((each) => !(each.kind === view.kind && each.name === view.name)), view].slice(-MOST));
  }

  remove(view: SavedView): void {
    this.#keep(this.list.filter((each) => each !== view));
  }

  #keep(list: SavedView[]): void {
    this.list = list;
    try {
      localStorage.setItem(KEY, JSON.stringify(list));
    } catch {
      // They then last until the page is left; the address has the same.
    }
  }
}

export const views = new Views();
