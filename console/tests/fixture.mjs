// A stand-in for Hob's API that serves the built console, so that every state of a page can be brought about.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { busAnswer, busState, event, matches } from './fixture-bus.mjs';
import { liveAnswer, places, terms } from './fixture-live.mjs';
import { rulesAnswer } from './fixture-rules.mjs';
import { confined, shipAnswer, shipState } from './fixture-ship.mjs';

export const TOKEN = 'fixture-token';
const DIST = new URL('../dist/', import.meta.url);
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
/** The scope's clock at the start: a simulated Friday evening. */
export const NOON = Date.parse('2026-03-06T18:40:00Z');

const RULES = ['order-unassigned', 'order-about-to-be-late', 'rider-stopped', 'restaurant-running-late'];
const TITLES = [
  (n) => `Order ${n} has had no rider for 6 minutes`,
  (n) => `Order ${n} will miss its quote by 11 minutes`,
  (n) => `Rider ${n} has not moved for 9 minutes with an order in the bag`,
  (n) => `Restaurant ${n} is 14 minutes behind on 5 orders`,
];
const KINDS = ['orders', 'orders', 'riders', 'restaurants'];

export function issue(n, changes = {}) {
  const rule = n % RULES.length;
  const priority = changes.priority ?? Math.max(5, 96 - ((n * 7) % 90));
  return {
    id: `is-${String(n).padStart(5, '0')}`,
    rule: RULES[rule],
    key: `${RULES[rule]} ${n}`,
    about: `http://city.test/${KINDS[rule]}/${n}`,
    state: 'open',
    priority,
    terms: terms(priority),
    title: TITLES[rule](n),
    environment: 'production',
    tenant: 'uk',
    opened: new Date(NOON - (60 + n * 37) * 1000).toISOString(),
    reopenings: n % 9 === 4 ? 1 : 0,
    ...changes,
  };
}

export function evidence(n) {
  const at = (seconds) => new Date(NOON - seconds * 1000).toISOString();
  return [
    { time: at(900), recorded: at(900), kind: 'event', text: `orders.create /orders/${n}`, sequence: String(4000 + n).padStart(20, '0') },
    {
      time: at(880),
      recorded: at(880),
      kind: 'entity',
      text: `order ${n} was read`,
      values: { state: 'placed', restaurant: '/restaurants/41', rider: null, placed_at: at(900), promised_at: at(-1200), zone: 'N4', total: 23.4, items: 3 },
    },
    { time: at(540), recorded: at(540), kind: 'rule', text: 'entity.state == "placed" && entity.rider == null became true' },
    { time: at(180), recorded: at(180), kind: 'rule', text: 'it held for 6m: the issue opened', values: { for: '6m', held: '6m00s' } },
  ];
}

export const FIGURES = [
  { id: 'placed', label: 'orders placed', value: 412, tone: 'neutral', place: 0 },
  { id: 'moving', label: 'on their way', value: 63, tone: 'neutral', place: 1 },
  { id: 'delivered', label: 'delivered', value: 338, tone: 'good', place: 2 },
  { id: 'late', label: 'late', value: 17, tone: 'warn', place: 3 },
];

const service = (name, kind, changes = {}) => ({
  id: name,
  name,
  kind,
  owner: 'city',
  environment: 'production',
  tenant: 'uk',
  release: 3,
  standby: 2,
  ready: 2,
  wanted: 2,
  state: 'ready',
  rollout: 'ro-1',
  ...changes,
});

export const SERVICES = [
  service('restaurants', 'domain'),
  service('orders', 'domain', { release: 7, standby: 6 }),
  service('riders', 'domain', { state: 'degraded', ready: 1 }),
  service('dispatch', 'domain', { ready: 1, wanted: 1, standby: undefined }),
  service('storefront', 'edge', { owner: 'web' }),
  service('city', 'domain', { state: 'deploying', ready: 1, wanted: 2 }),
];

export const INSTANCES = confined(SERVICES.flatMap((each) =>
  [1, 2].slice(0, each.wanted).map((n) => ({
    id: `${each.name}-${n === 1 ? 'web' : 'web'}-3x7k2m9qz${n}`,
    service: each.name,
    process: 'web',
    environment: 'production',
    tenant: 'uk',
    release: each.release,
    node: 'local',
    state: n <= each.ready ? 'ready' : each.name === 'riders' ? 'failed' : 'starting',
    address: `127.0.0.1:4012${n}`,
    started: new Date(Date.now() - 3_700_000 * n).toISOString(),
    pid: 4200 + n,
    restarts: each.name === 'riders' ? 4 : 0,
    ...(each.name === 'riders' && n === 2 ? { reason: 'GET /health/ready answered 503 for 20 s; started again in 8 s' } : {}),
  })),
));

function series(step) {
  const to = Math.floor(Date.now() / 1000 / step) * step;
  const points = (value) => Array.from({ length: 80 }, (_, n) => ({ time: new Date((to - (79 - n) * step) * 1000).toISOString(), value: value(n) }));
  const labels = { service: 'orders', environment: 'production', tenant: 'uk' };
  return [
    { name: 'http.requests', labels, statistic: 'count', points: points((n) => step * (42 + 14 * Math.sin(n / 9) + 3 * Math.sin(n * 1.9))) },
    { name: 'http.errors', labels, statistic: 'count', points: points((n) => (n > 50 && n < 56 ? step * 4 : 0)) },
    { name: 'http.latency', labels, statistic: 'calls', points: points(() => 420) },
    { name: 'http.latency', labels, statistic: 'p50', points: points((n) => 0.0042 + 0.0007 * Math.sin(n / 5)) },
    { name: 'http.latency', labels, statistic: 'p99', points: points((n) => 0.019 + 0.006 * Math.sin(n / 7) + (n > 50 && n < 56 ? 0.05 : 0)) },
  ];
}

function logs(from, count) {
  const lines = [
    ['info', 'POST /orders 201 in 6 ms', 'access'],
    ['info', 'order placed', 'stdout'],
    ['warn', 'the restaurant did not answer within 2 s; trying again', 'stdout'],
    ['debug', 'cache: generation 881 for /restaurants/41', 'stdout'],
    ['error', 'could not read the rider: connection reset by peer (os error 104)', 'stderr'],
    ['info', 'GET /restaurants?near=N4&open=true 200 in 11 ms', 'access'],
  ];
  return Array.from({ length: count }, (_, index) => {
    const n = from - index;
    const [level, message, source] = lines[n % lines.length];
    return {
      sequence: String(n).padStart(20, '0'),
      time: new Date(Date.now() - index * 700).toISOString(),
      level,
      source,
      service: SERVICES[n % 6].name,
      process: 'web',
      instance: 'orders-web-3x7k2m9qz1',
      environment: 'production',
      tenant: 'uk',
      release: 7,
      message,
      request_id: `0197f3c2a${n}`,
      fields: { took_ms: 6, zone: 'N4' },
    };
  });
}

const hal = (body, href) => ({ ...body, _links: { self: { href } } });
const page = (items, next) => ({ items: items.map((each) => hal(each, '/')), _links: { self: { href: '/' }, ...(next ? { next: { href: next } } : {}) } });

/** Starts the stand-in. What a test wants otherwise it changes in `state`, or by a handler in `state.override`. */
export async function fixture(changes = {}) {
  const state = {
    issues: Array.from({ length: 12 }, (_, n) => issue(n + 1, n % 5 === 3 ? { state: 'acknowledged', assignee: 'admin', acknowledged: new Date(NOON - 90_000).toISOString() } : {})),
    resolved: [1, 2, 3].map((n) => issue(900 + n, { state: 'resolved', resolved: new Date(NOON - n * 260_000).toISOString(), resolution: ['Fixed', 'the rule is false again', 'Customer told'][n - 1] })),
    figures: FIGURES,
    services: SERVICES,
    instances: INSTANCES,
    clock: NOON,
    bus: busState(),
    ship: shipState(),
    logs: 5000,
    override: {},
    silent: false,
    scopes: [{ environment: 'production', tenant: 'uk' }, { environment: 'production', tenant: 'ie' }],
    ...changes,
  };
  const calls = [];
  const subscriptions = [];
  let cursor = 1;

  const rowsOf = (view) => {
    if (view === 'issues') return [...state.issues, ...state.resolved];
    if (view === 'figures') return [...state.figures, { id: 'clock', time: new Date(state.clock).toISOString() }];
    if (view === 'map') return places.map((each) => ({ id: each.href, ...each }));
    if (view === 'services') return state.services;
    if (view === 'instances') return state.instances;
    if (view.startsWith('issue:')) {
      const found = [...state.issues, ...state.resolved].find((each) => `issue:${each.id}` === view);
      return found ? [{ ...found, evidence: evidenceOf(found.id) }] : [];
    }
    return [];
  };

  /** What each verb makes of an issue. */
  const verbs = {
    acknowledge: (now) => ({ state: 'acknowledged', acknowledged: now, assignee: 'admin' }),
    assign: (now, { to }) => ({ state: 'acknowledged', acknowledged: now, assignee: to }),
    snooze: (now, { for: time, until_worse }) => ({ snoozed: time === '1s' ? null : { until: new Date(state.clock + Number.parseInt(time, 10) * (time.endsWith('h') ? 3_600_000 : 60_000)).toISOString(), worse: until_worse === true, by: 'admin' } }),
    resolve: (now, { as, reason }) => as === 'verify' ? { verify_at: new Date(state.clock + 300_000).toISOString() } : ({ state: 'resolved', resolved: now, resolution: reason, ...(as === 'false-alarm' ? { label: as } : {}) }),
    merge: (now, { into }) => ({ state: 'resolved', resolved: now, merged_into: into }),
    reopen: () => ({ state: 'open', resolved: null, resolution: null }),
    note: () => ({}),
  };

  function act(path, body) {
    const [, id, verb, relation] = path.match(/^\/v1\/issues\/([^/]+)\/(\w+)(?:\/(.+))?$/) ?? [];
    const found = [...state.issues, ...state.resolved].find((each) => each.id === id);
    if (!found) return undefined;
    const now = new Date(state.clock).toISOString();
    const changes = verb === 'actions'
      ? { actions: found.actions.map((each) => (each.relation === decodeURIComponent(relation) ? { ...each, state: 'running' } : each)) }
      : verbs[verb](now, body);
    const next = Object.fromEntries(Object.entries({ ...found, ...changes }).filter(([, value]) => value !== null));
    if (verb === 'note') state.notes = [...(state.notes ?? []), { id, time: now, recorded: now, kind: 'note', text: body.text, values: { actor: 'admin' } }];
    if (next.state === 'resolved') {
      state.issues = state.issues.filter((each) => each.id !== id);
      state.resolved = [next, ...state.resolved.filter((each) => each.id !== id)];
      push('issues', [], [id]);
    } else {
      state.resolved = state.resolved.filter((each) => each.id !== id);
      const at = state.issues.findIndex((each) => each.id === id);
      state.issues = at < 0 ? [...state.issues, next] : state.issues.with(at, next);
      push('issues', [[id, verb === 'reopen' ? next : changes]]);
    }
    if (verb === 'actions' || verb === 'note') push(`issue:${id}`, [[id, { ...changes, evidence: evidenceOf(id) }]]);
    return hal(next, path);
  }

  const evidenceOf = (id) => [...evidence(Number(id.slice(3))), ...(state.notes ?? []).filter((each) => each.id === id)];

  function issuesAsked(query) {
    const states = (query.get('state') ?? '').split(',').filter(Boolean);
    const is = (name, has) => !query.get(name) || query.get(name) === has;
    const text = query.get('q') ?? '';
    const found = [...state.issues, ...state.resolved].filter((each) =>
      (states.length === 0 || states.includes(each.state)) && is('rule', each.rule) && is('label', each.label) && is('assignee', each.assignee) &&
      (!query.get('since') || each.opened >= query.get('since')) && (!query.get('until') || each.opened < query.get('until')) &&
      (query.get('shadow') === 'true') === (each.rule_mode === 'shadow') && `${each.title} ${each.resolution ?? ''}`.includes(text));
    const from = Number(query.get('cursor') ?? 0);
    const limit = Number(query.get('limit') ?? 100);
    return page(found.slice(from, from + limit), from + limit < found.length ? `/v1/issues?cursor=${from + limit}` : undefined);
  }

  function answer(method, url, body) {
    const path = url.pathname;
    if (path === '/v1/status') {
      return {
        version: '0.1.0', ready: true, uptime_seconds: 4000, platform: 'takeaway', scopes: state.scopes,
        router_url: 'http://127.0.0.1:8080', nodes: 1, routers: 1, services: 6, services_ready: 4, issues: 12, events: state.bus.events.length,
        public_url: 'http://city.test',
      };
    }
    const ofRules = rulesAnswer(state, method, url, body);
    if (ofRules) return ofRules;
    if (path === '/v1/issues') return issuesAsked(url.searchParams);
    if (method === 'POST' && path.startsWith('/v1/issues/')) return act(path, body);
    if (path.startsWith('/v1/issues/')) return rowsOf(`issue:${path.slice(11)}`)[0];
    if (path === '/v1/events/00000000000000004001') return { id: 'ev-1', sequence: path.slice(11), type: 'orders.create', subject: 'http://city.test/orders/1' };
    const ofLive = liveAnswer(state, method, url, body);
    if (ofLive) return ofLive;
    const ofBus = busAnswer(state.bus, method, url, body);
    if (ofBus) return ofBus;
    if (path === '/v1/services') return page(state.services);
    if (path === '/v1/instances') return page(state.instances);
    const ofShip = shipAnswer(state.ship, method, url, body);
    if (ofShip) return ofShip;
    if (/\/shoot$/.test(path)) return {};
    if (path === '/v1/traffic') return page(series(Number.parseInt(url.searchParams.get('step') ?? '10', 10)));
    if (path === '/v1/logs') {
      state.logs += 2;
      const level = url.searchParams.get('level');
      const text = url.searchParams.get('text') ?? '';
      const order = ['trace', 'debug', 'info', 'warn', 'error'];
      const list = logs(state.logs, 60).filter((each) => (!level || order.indexOf(each.level) >= order.indexOf(level)) && each.message.includes(text));
      return page(list, '/v1/logs?cursor=abc');
    }
    return undefined;
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://fixture');
    const send = (status, body, type) => {
      response.writeHead(status, {
        'content-type': type,
        'x-request-id': 'req-0197f3c2',
        'content-security-policy': "default-src 'self'; frame-ancestors 'none'",
      });
      response.end(body);
    };
    if (!url.pathname.startsWith('/v1/')) {
      const name = url.pathname.startsWith('/assets/') || url.pathname === '/favicon.svg' ? url.pathname.slice(1) : 'index.html';
      const body = await readFile(new URL(name, DIST)).catch(() => undefined);
      return body ? send(200, body, TYPES[name.split('.').at(-1)]) : send(404, 'not found', 'text/plain');
    }
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = text ? JSON.parse(text) : {};
    calls.push({ method: request.method, path: url.pathname, query: Object.fromEntries(url.searchParams), body });
    const problem = (status, title, detail) =>
      send(status, JSON.stringify({ type: '/errors/HOB-0042', title, status, code: 'HOB-0042', detail, request_id: 'req-0197f3c2' }), 'application/problem+json');
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return problem(401, 'The token is not known', '');
    if (url.pathname === '/v1/events' && request.headers.accept === 'text/event-stream') return stream(url, response);
    const override = state.override[url.pathname];
    if (override) {
      const result = await override(url, body);
      if (result?.problem) return problem(...result.problem);
      if (result) return send(200, JSON.stringify(result), 'application/hal+json');
    }
    const result = answer(request.method, url, body);
    return result ? send(200, JSON.stringify(result), 'application/hal+json') : problem(404, 'There is no such thing', url.pathname);
  });

  const streams = new Set();
  const frame = (name, value, id) => `${id ? `id: ${id}\n` : ''}event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;

  /** The log from a place on, live. */
  function stream(url, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const each of state.bus.events.filter((each) => matches(each, url.searchParams))) response.write(frame('event', each, each.sequence));
    response.write(frame('heartbeat', { head: state.bus.events.at(-1).sequence }));
    const follower = { query: url.searchParams, response };
    streams.add(follower);
    response.on('close', () => streams.delete(follower));
  }

  /** Publishes an event, as a service would. */
  function publish(told = {}) {
    const next = event(state.bus.events.length + 1, told);
    state.bus.events.push(next);
    for (const { query, response } of streams) if (matches(next, query)) response.write(frame('event', next, next.sequence));
    return next;
  }

  let closing = false;
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has('hob.v1') ? 'hob.v1' : false) });
  server.on('upgrade', (request, socket, head) => {
    const offered = String(request.headers['sec-websocket-protocol']).split(/,\s*/);
    if (closing || state.down || !request.url.startsWith('/v1/live') || !offered.includes(`bearer.${TOKEN}`)) return socket.destroy();
    sockets.handleUpgrade(request, socket, head, (client) => {
      client.on('message', (message) => {
        const frame = JSON.parse(message.toString());
        subscriptions.push(frame);
        client.views ??= new Map();
        if (frame.frame === 'unsub') return client.views.delete(frame.id);
        client.views.set(frame.id, frame.view);
        const refused = state.refuse?.[frame.view];
        if (refused) return client.send(JSON.stringify({ frame: 'refused', id: frame.id, reason: refused }));
        if (!state.silent) client.send(JSON.stringify({ frame: 'snap', id: frame.id, rows: rowsOf(frame.view), cursor: String(cursor) }));
      });
    });
  });

  /** Sends a patch to everybody who looks at the view. */
  function push(view, up = [], del = []) {
    cursor += 1;
    for (const client of sockets.clients) {
      for (const [id, name] of client.views ?? []) {
        if (name === view) client.send(JSON.stringify({ frame: 'patch', id, up, del, cursor: String(cursor) }));
      }
    }
  }

  /** Changes issues as Hob would: in what it holds, and in a patch. */
  function change(changed, gone = []) {
    for (const row of changed) {
      const at = state.issues.findIndex((each) => each.id === row.id);
      if (at < 0) state.issues = [...state.issues, row];
      else state.issues = state.issues.with(at, { ...state.issues[at], ...row });
    }
    state.issues = state.issues.filter((each) => !gone.includes(each.id));
    push('issues', changed.map((row) => [row.id, row]), gone);
  }

  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    closing = true;
    sockets.clients.forEach((client) => client.terminate());
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    state, calls, subscriptions, push, change, publish, origin,
    url: (path = '/') => `${origin}${path}#token=${TOKEN}`,
    breakStreams: () => streams.forEach(({ response }) => response.destroy()),
    sockets: () => sockets.clients.size,
    drop: () => sockets.clients.forEach((client) => client.terminate()),
    /** Ends as by `kill -9`: nobody is told, and the port is closed. */
    close,
    /** Starts again at the same place, with what it held. */
    restart: () => new Promise((resolve) => {
      closing = false;
      server.listen(new URL(origin).port, '127.0.0.1', resolve);
    }),
  };
}
