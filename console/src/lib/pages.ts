// The pages of the console in the order of the bar: address, name, the keys that lead there.

export interface PageEntry {
  name: string;
  path: string;
  label: string;
  keys: string;
  /** It is loaded when it is first opened. */
  load?: () => Promise<{ default: import('svelte').Component }>;
}

export const PAGES: readonly PageEntry[] = [
  { name: 'live', path: '/', label: 'Live', keys: 'g l' },
  { name: 'entities', path: '/entities', label: 'Entities', keys: 'g o', load: () => import('../pages/Entities.svelte') },
  { name: 'rules', path: '/rules', label: 'Rules', keys: 'g w', load: () => import('../pages/Rules.svelte') },
  { name: 'history', path: '/history', label: 'History', keys: 'g h', load: () => import('../pages/History.svelte') },
  { name: 'services', path: '/services', label: 'Services', keys: 'g s', load: () => import('../pages/Services.svelte') },
  { name: 'deploys', path: '/deploys', label: 'Deploys', keys: 'g d', load: () => import('../pages/Deploys.svelte') },
  { name: 'nodes', path: '/nodes', label: 'Nodes', keys: 'g n', load: () => import('../pages/Nodes.svelte') },
  { name: 'router', path: '/router', label: 'Router', keys: 'g r', load: () => import('../pages/Router.svelte') },
  { name: 'events', path: '/events', label: 'Events', keys: 'g e', load: () => import('../pages/Events.svelte') },
  { name: 'subscriptions', path: '/subscriptions', label: 'Subscriptions', keys: 'g u', load: () => import('../pages/Subscriptions.svelte') },
];

/** The page that an address belongs to. */
export const pageAt = (path: string): PageEntry | undefined =>
  PAGES.find((page) => path === page.path || (page.path !== '/' && path.startsWith(`${page.path}/`)));
