// Nodes, routers and shields: what is said about them.

import type { Confinement, Instance, Isolation, NewShield, NodeSummary, RouteSummary, Usage } from './types';

export type { Confinement, Ejection, Isolation, Limited, NewShield, NodeSummary, RouterSummary, RouteSummary, ShieldState, Target, Usage } from './types';

/** An instance with what its agent says of it. */
export type Confined = Instance;

export const LADDER: readonly [Isolation, string][] = [
  ['L0', 'a session of its own, resource limits, a scrubbed environment, a private temporary folder'],
  ['L1', 'no new privileges, files and ports by list (Landlock), dangerous system calls denied (seccomp)'],
  ['L2', 'its own mounts, processes, IPC and host name'],
  ['L3', 'its own user, and limits by control group'],
];

/** Limits that a node can have in force. */
export const LIMITS: readonly string[] = ['memory', 'pids', 'cpu'];

/** How a node is, in one word. */
export function nodeState(node: NodeSummary): 'active' | 'draining' | 'killed' | 'lost' {
  if (node.state === 'killed') return 'killed';
  return node.live ? (node.state ?? 'active') : 'lost';
}

/** What the node's agent told of the machine; one that tells nothing leaves everything at nothing. */
export const factsOf = (node: NodeSummary): NodeSummary['facts'] | undefined => ((node.facts?.cores ?? 0) > 0 ? node.facts : undefined);

/** What the agent told of an instance's use; a process has at least itself. */
export const usageOf = (each: Confined): Usage | undefined => ((each.usage?.pids ?? 0) > 0 || (each.usage?.memory_bytes ?? 0) > 0 ? each.usage : undefined);

/** How it is confined, when its agent told. */
export const confinementOf = (each: Confined): Confinement | undefined => {
  const told = each.confinement;
  return told && (told.isolation !== 'L0' || told.limits.length > 0 || told.missing.length > 0 || usageOf(each)) ? told : undefined;
};

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `812 MiB`, `3.9 GiB`. */
export function bytes(value: number): string {
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < UNITS.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${left >= 100 || unit === 0 ? Math.round(left) : left.toFixed(1).replace('.0', '')} ${UNITS[unit]}`;
}

/** Processor time a second, as cores: `0.3`, `2.4`. */
export const cores = (value: number): string => (value < 0.005 ? '0' : value.toFixed(value < 1 ? 2 : 1));

/** What a part of something whole looks like: calm until there is little left. */
export const fullness = (part: number): 'good' | 'warn' | 'bad' => (part >= 0.95 ? 'bad' : part >= 0.8 ? 'warn' : 'good');

/** Restarts from which on somebody should look, although it runs now. */
const RESTARTS_MANY = 3;

/** Whether an instance keeps ending, or cannot become ready. */
export const isTroubled = (each: Instance): boolean =>
  each.state === 'failed' || ((each.restarts ?? 0) > 0 && each.state === 'starting') || ((each.restarts ?? 0) >= RESTARTS_MANY && each.state !== 'stopped');

/** The first line of a reason, and the rest: its probes and the last lines that it wrote. */
export function firstLine(reason: string): { first: string; rest: string } {
  const [first = '', ...rest] = reason.split('\n');
  return { first, rest: rest.join('\n').trim() };
}

/** Why requests are refused, for somebody who has never seen it. */
export const REFUSALS: Record<string, string> = {
  rate: 'one client made too many requests',
  connections: 'one client opened too many connections',
  header: 'the head of the request was too long, or wrong',
  body: 'the body was too long',
  slow: 'the client sent too slowly',
  hold: 'it waited as long as it may, or too many waited',
  maintenance: 'it got the maintenance page',
};

/** What a shield is about: `orders at /orders/history of uk`. */
export function about(shield: NewShield): string {
  const words = [shield.service ?? 'every service'];
  if (shield.path) words.push(`at ${shield.path}`);
  if (shield.tenant) words.push(`of ${shield.tenant}`);
  if (shield.environment) words.push(`in ${shield.environment}`);
  return words.join(' ');
}

/** A shield's id: the same order again takes the place of the first. */
export function shieldId(shield: NewShield): string {
  const parts = [shield.does, shield.service ?? 'all', shield.path ?? '', shield.environment ?? '', shield.tenant ?? ''];
  const text = parts.filter(Boolean).join('-').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
  return text.slice(0, 60).replace(/-$/, '');
}

/** The releases that a route's requests go to, with their per cent of them; what no share names goes to the rest. */
export function split(route: Pick<RouteSummary, 'targets' | 'shares'>): { release: number; percent: number }[] {
  const releases = [...new Set(route.targets.map((target) => target.release))].sort((a, b) => a - b);
  const named = new Map((route.shares ?? []).filter((share) => releases.includes(share.release)).map((share) => [share.release, share.weight ?? 0]));
  const rest = releases.filter((release) => !named.has(release));
  const left = Math.max(0, 100 - [...named.values()].reduce((sum, weight) => sum + weight, 0));
  const count = (release: number) => route.targets.filter((target) => target.release === release).length;
  const many = rest.reduce((sum, release) => sum + count(release), 0);
  return releases.map((release) => ({ release, percent: named.get(release) ?? (many > 0 ? (left * count(release)) / many : 0) }));
}
