// What ships, of the stand-in: releases and rollouts in every state, nodes, routers, routes and shields.

const ago = (seconds) => new Date(Date.now() - seconds * 1_000).toISOString();
const ahead = (seconds) => ago(-seconds);
const SCOPE = { environment: 'production', tenant: 'uk' };
const MIB = 1024 * 1024;

const release = (service, number, state, told = {}) => ({
  number, service, ...SCOPE, package: `sha256:${String(number).repeat(64)}`, config: `sha256:${'ab'.repeat(32)}`, created: ago((8 - number) * 5_400), state, ...told,
});

const RELEASES = {
  orders: [
    release('orders', 7, 'routed'), release('orders', 6, 'standby', { name: 'before-the-sale' }), release('orders', 5, 'retired', { promoted_from: 'qa' }), release('orders', 4, 'failed'),
    release('orders', 3, 'retired'), release('orders', 2, 'retired'),
  ],
};

/** A rollout that came through these states, each after so many seconds from its start. */
function rollout(id, service, from, to, state, began, steps, told = {}) {
  return { id, service, ...SCOPE, from, to, rollback: false, state, started: ago(began), ready: 2, wanted: 2, weight: 0, steps: steps.map(([name, at]) => ({ state: name, at: ago(began - at) })), gates: [], ...told };
}

const over = (began, seconds) => ({ ended: ago(began - seconds) });
const gate = (name, verdict, why, requests, fresh, control) => ({ gate: name, verdict, why, requests, new: fresh, control });
const WAY = [['queued', 0], ['prefetching', 0.2], ['starting', 3.1], ['stepping', 8.4]];

function rollouts() {
  const done = [...WAY, ['routing', 68], ['baking', 68.4], ['draining', 128], ['complete', 130]];
  return {
    orders: [
      rollout('ro-1', 'orders', 6, 7, 'complete', 4_000, done, { ...over(4_000, 130), weight: 100, gates: [gate('error_ratio', 'pass', '0 % of 4,410 requests failed; at most 1 %; 0 % of the release before', 4_410, 0, 0.0002)], changes: [{ change: 'change', what: 'package' }] }),
      rollout('ro-0', 'orders', 7, 6, 'complete', 9_000, [['routing', 0], ['draining', 0.3], ['complete', 2.1]], { ...over(9_000, 2.1), rollback: true, weight: 100 }),
      rollout('ro-00', 'orders', 6, 4, 'failed', 20_000, [['queued', 0], ['prefetching', 0.1], ['starting', 2], ['reverting', 62], ['failed', 62.4]], {
        ...over(20_000, 62), reason: 'not ready within 1m: orders-web-4p2 is not ready: GET /health/ready answered 503\nlast line: could not open the database: no such file', ready: 0,
      }),
    ],
    city: [
      rollout('ro-city', 'city', 2, 3, 'stepping', 34, WAY, {
        weight: 25, share: 1, deadline: ahead(34),
        gates: [gate('error_ratio', 'pass', '0.2 % of 1,204 requests failed; at most 1 %; 0.1 % of the release before', 1_204, 0.002, 0.001), gate('latency', 'no_data', '42 requests to the new instances and 51 to the control were seen; 100 each are needed to say', 42, 21.4, 17.9)],
        changes: [{ change: 'change', what: 'package' }, { change: 'add', what: 'variable CITY_SEED' }, { change: 'change', what: 'variable MODE' }, { change: 'remove', what: 'process sweeper' }],
      }),
    ],
    dispatch: [
      rollout('ro-dispatch', 'dispatch', 2, 3, 'holding', 700, [...WAY, ['holding', 70]], {
        weight: 10, share: 0, deadline: ahead(220), reason: '61 requests were seen; 100 are needed to say', gates: [gate('error_ratio', 'no_data', '61 requests were seen; 100 are needed to say', 61)],
      }),
    ],
    storefront: [rollout('ro-storefront', 'storefront', 2, 3, 'starting', 12, [['queued', 0], ['prefetching', 0.2], ['pre_release', 2], ['starting', 6]], { ready: 3, wanted: 8, deadline: ahead(160) })],
    restaurants: [
      rollout('ro-rest', 'restaurants', 2, 3, 'failed', 1_800, [...WAY, ['reverting', 39], ['failed', 41]], {
        ...over(1_800, 41), reason: 'a gate failed: 4.1 % of 980 requests failed; at most 1 %', gates: [gate('error_ratio', 'fail', '4.1 % of 980 requests failed; at most 1 %; 0.1 % of the release before', 980, 0.041, 0.001)],
      }),
      rollout('ro-rest-0', 'restaurants', 2, 3, 'superseded', 2_400, [['queued', 0], ['prefetching', 0.2], ['starting', 1]], { ...over(2_400, 9), reason: 'release 4 took its place' }),
    ],
    riders: [],
  };
}

const confinement = (isolation, limits, missing = []) => ({ isolation, limits, missing });
const node = (name, told = {}) => ({
  name, live: true, reported: ago(0.6), instances: 5, state: 'active',
  facts: { host: `${name}.city.test`, version: '0.1.0', cores: 8, memory_bytes: 16_384 * MIB, cgroups: 'hybrid', confinement: confinement('L3', ['memory', 'pids', 'cpu']) },
  usage: { cpu_seconds: 410, memory_bytes: 6_400 * MIB, pids: 214 }, ...told,
});

const BEGAN = Date.now();
/** A node whose instances use two and a half of its cores. */
const working = (each) => (each.live && each.usage ? { ...each, reported: ago(0.6), usage: { ...each.usage, cpu_seconds: each.usage.cpu_seconds + ((Date.now() - BEGAN) / 1000) * 2.5 } } : each);

const nodes = () => [
  node('local', { facts: { ...node('local').facts, confinement: confinement('L2', ['memory', 'pids'], ['cpu: no such controller', 'killing as a group: version 2 is not mounted']) } }),
  node('node-2', { state: 'draining', by: 'admin', since: ago(95), instances: 2, usage: { cpu_seconds: 92, memory_bytes: 14_100 * MIB, pids: 61 } }),
  node('node-3', { live: false, reported: ago(340), instances: 0, usage: { cpu_seconds: 0, memory_bytes: 0, pids: 0 }, facts: { ...node('node-3').facts, cgroups: 'off', confinement: confinement('L1', [], ['control groups: none are mounted']) } }),
];

/** What agents tell of instances beside where each stands. */
export const confined = (instances) =>
  instances.map((each, n) => ({
    ...each,
    node: n % 4 === 3 ? 'node-2' : 'local',
    confinement: n % 4 === 3 ? confinement('L3', ['memory', 'pids', 'cpu']) : confinement('L2', ['memory', 'pids'], ['cpu: no such controller']),
    usage: { cpu_seconds: 12 + n * 3, memory_bytes: (24 + n * 17) * MIB, pids: 6 + n },
    ...(each.state === 'failed'
      ? { ended: 'status 101', reason: 'ended with status 101; started again in 8 s\nGET /health/ready: connection refused\nthread main panicked at src/main.rs:41: RIDERS_KEY is not set' }
      : {}),
  }));

const target = (service, n, number, told = {}) => ({ instance: `${service}-web-3x7k2m9qz${n}`, address: `127.0.0.1:4012${n}`, release: number, ...told });
const route = (service, path, told = {}) => ({ path, pool: `${service}.production.uk`, service, ...SCOPE, targets: [target(service, 1, 3), target(service, 2, 3)], in_flight: 4, held: 0, retry: {}, ...told });

const routes = () => [
  route('orders', '/orders', { targets: [target('orders', 1, 7), target('orders', 2, 7)], in_flight: 31, limited: [{ pool: 'orders.production.uk', reason: 'rate', requests: 412 }] }),
  route('city', '/', { host: 'city.test', targets: [target('city', 1, 2), target('city', 2, 3, { slow_start: { since: ago(4), for_ms: 30_000 } })], shares: [{ release: 3, weight: 25 }], in_flight: 12 }),
  route('riders', '/riders', { ejected: [{ instance: 'riders-web-3x7k2m9qz2', reason: '5 answers in a row were 503', until: ahead(22) }], in_flight: 9 }),
  route('restaurants', '/restaurants', { held: 17, shields: ['hold-restaurants'] }),
  route('restaurants', '/restaurants/menus/pictures', { held: 17, shields: ['maintenance-restaurants-menus', 'hold-restaurants'], in_flight: 0 }),
  route('reports', '/reports', { targets: [], in_flight: 0, held: 1, idle: true }),
  route('orders', '/orders', { tenant: 'ie', pool: 'orders.production.ie', targets: [target('orders', 3, 5)], in_flight: 2 }),
];

const routers = () => [
  {
    name: 'router-1', live: true, reported: ago(0.4), generation: 4_294_967_338, current: true, connections: 1_204, in_flight: 52, held: { 'restaurants.production.uk': 17, 'reports.production.uk': 1 },
    ejected: [{ instance: 'riders-web-3x7k2m9qz2', reason: '5 answers in a row were 503', until: ahead(22) }],
    limited: [{ pool: 'orders.production.uk', reason: 'rate', requests: 412 }, { reason: 'slow', requests: 9 }, { reason: 'header', requests: 3 }], records_dropped: 0,
  },
  { name: 'router-2', live: true, reported: ago(0.8), generation: 4_294_967_337, current: false, connections: 310, in_flight: 6, records_dropped: 1_200 },
];

const shields = () => [
  { id: 'maintenance-restaurants-menus', service: 'restaurants', path: '/restaurants/menus', does: 'maintenance', message: 'Menus are back at noon.', retry_after: 1800, since: ago(900), by: 'admin', generation: 40, held: 0 },
  { id: 'hold-restaurants', service: 'restaurants', does: 'hold', max_ms: 30_000, since: ago(12), by: 'ada', generation: 42, waiting: ['router-2'], held: 17 },
];

export const shipState = () => ({ releases: RELEASES, rollouts: rollouts(), nodes: nodes(), routes: routes(), routers: routers(), shields: shields() });

const hal = (body) => ({ ...body, _links: { self: { href: '/' } } });
const page = (items) => ({ items: items.map(hal), _links: { self: { href: '/' } } });

function order(ship, id, wanted) {
  const service = Object.keys(ship.rollouts).find((name) => ship.rollouts[name].some((each) => each.id === id));
  if (!service) return undefined;
  const at = ship.rollouts[service].findIndex((each) => each.id === id);
  const before = ship.rollouts[service][at];
  const state = { hold: 'holding', resume: 'stepping', abort: 'reverting' }[wanted];
  const after = { ...before, state, reason: wanted === 'hold' ? 'somebody asked for it' : undefined, steps: [...before.steps, { state, at: ago(0) }] };
  ship.rollouts = { ...ship.rollouts, [service]: ship.rollouts[service].with(at, after) };
  return hal(after);
}

/** The numbers of a service: two of `web` and a worker, or what was ordered. */
function scaleAnswer(ship, method, service, body) {
  ship.scales ??= {};
  if (method === 'PUT') ship.scales[service] = { ...ship.scales[service], ...body };
  if (method === 'DELETE') delete ship.scales[service];
  const ordered = ship.scales[service] ?? {};
  const one = (name, declared) => [name, {
    wanted: ordered[name] ?? declared, ready: declared, why: ordered[name] === undefined ? 'as declared' : `${ordered[name]} by hand`,
    ...(ordered[name] === undefined ? {} : { by_hand: ordered[name], by: 'admin' }),
  }];
  return hal({ service, environment: 'demo', tenant: 'uk', processes: Object.fromEntries([one('web', 2), one('worker', 1)]), start_p95_ms: 840 });
}

function serviceAnswer(ship, method, service, what, url, body) {
  const list = ship.releases[service] ?? [release(service, 3, 'routed'), release(service, 2, 'standby')];
  if (what === 'releases') return page(list);
  if (what === 'scale') return scaleAnswer(ship, method, service, body);
  if (what === 'rollouts') return page(ship.rollouts[service] ?? []);
  if (what === 'rollback') {
    const back = rollout('ro-back', service, list[0].number, body.to ?? list[1].number, 'routing', 0.2, [['routing', 0]], { rollback: true });
    ship.rollouts = { ...ship.rollouts, [service]: [back, ...(ship.rollouts[service] ?? [])] };
    return hal(back);
  }
  const [, number] = what.match(/^releases\/(\d+)\/name$/) ?? [];
  if (!number || method !== 'PUT') return undefined;
  const named = list.map((each) => (each.number === Number(number) ? { ...each, name: body.name } : each));
  ship.releases = { ...ship.releases, [service]: named };
  return hal(named.find((each) => each.number === Number(number)));
}

/** What the stand-in answers, or nothing when it is not about what ships. */
export function shipAnswer(ship, method, url, body) {
  const path = decodeURIComponent(url.pathname);
  const [, service, what] = path.match(/^\/v1\/services\/([^/]+)\/(.+)$/) ?? [];
  if (service) return serviceAnswer(ship, method, service, what, url, body);
  const [, id] = path.match(/^\/v1\/rollouts\/(.+)$/) ?? [];
  if (id && method === 'PATCH') return order(ship, id, body.wanted);
  if (['/v1/nodes', '/v1/routers', '/v1/routes', '/v1/shields'].includes(path)) {
    const list = ship[path.slice(4)];
    return list && page(path === '/v1/nodes' ? list.map(working) : list);
  }
  const [, kind, name] = path.match(/^\/v1\/(nodes|shields)\/([^/]+)$/) ?? [];
  if (kind === 'nodes') {
    const found = ship.nodes.find((each) => each.name === name);
    if (!found || method === 'GET') return found && hal(found);
    const after = { ...found, state: method === 'DELETE' ? 'killed' : body.state, by: 'admin', since: ago(0) };
    ship.nodes = ship.nodes.map((each) => (each.name === name ? after : each));
    return hal(after);
  }
  if (kind === 'shields' && method === 'PUT') {
    const made = { id: name, ...body, since: ago(0), by: 'admin', generation: 43, held: 0 };
    ship.shields = [made, ...ship.shields.filter((each) => each.id !== name)];
    return hal(made);
  }
  if (kind === 'shields' && method === 'DELETE') {
    const found = ship.shields.find((each) => each.id === name);
    ship.shields = ship.shields.filter((each) => each.id !== name);
    return found && hal(found);
  }
  return undefined;
}
