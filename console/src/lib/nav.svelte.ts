// The address is the state: the page, what is selected, the filters and the scope.

import { pageAt } from './pages';
import type { Scope } from './types';


class Nav {
  path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    window.addEventListener('popstate', () => this.#read());
  }

  #read(): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }

  get(name: string): string {
    return this.query.get(name) ?? '';
  }

  /** An address within the console that keeps the scope, with these parameters. */
  href(path: string, parameters: Record<string, string> = {}): string {
    const query = new URLSearchParams();
    for (const name of ['environment', 'tenant']) {
      const value = this.query.get(name);
      if (value) query.set(name, value);
    }
    for (const [name, value] of Object.entries(parameters)) if (value) query.set(name, value);
    const text = query.toString();
    return text ? `${path}?${text}` : path;
  }

  /** The present page with some parameters changed; an empty value takes one away. */
  with(changes: Record<string, string>): string {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    return text ? `${this.path}?${text}` : this.path;
  }

  go(address: string, replace = false): void {
    if (address === location.pathname + location.search) return;
    if (replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.#read();
  }

  /** Changes parameters of the present page; typing into a filter should not fill the history. */
  set(changes: Record<string, string>, replace = true): void {
    this.go(this.with(changes), replace);
  }

  /** Follows plain clicks on links within the console without loading the page again. */
  follow = (event: MouseEvent): void => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || link.target || link.origin !== location.origin || link.hasAttribute('download')) return;
    if (link.getAttribute('href')?.startsWith('#')) return;
    // Every other path is the API's or a file.
    if (!pageAt(link.pathname)) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  };

  /** The scope that the address names, as parameters for the API. */
  get scope(): Partial<Scope> {
    const scope: Partial<Scope> = {};
    const environment = this.get('environment');
    const tenant = this.get('tenant');
    if (environment) scope.environment = environment;
    if (tenant) scope.tenant = tenant;
    return scope;
  }
}

export const nav = new Nav();
