// The bus of the stand-in: an event log that can be followed, subscriptions in every state, and dead letters.

const BEGIN = Date.parse('2026-03-06T18:30:00Z');
const CITY = 'http://city.test';
const DELIVERY = {
  max: 100, deadline_ms: 0, concurrency: 8, format: 'batch', timeout_ms: 20_000, order: 'entity', collapse: 'none',
  attempts: 10, backoff_ms: [1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000], on_poison: 'dead-letter',
};
const digits = (n) => String(n).padStart(20, '0');
const wall = (n) => new Date(Date.now() - (400 - n) * 2_000).toISOString();

/** The n-th event of the log, made of what is told. */
export function event(n, told = {}) {
  const { topic = 'orders', change = 'update', subject = `${CITY}/orders/7`, service = topic, ...rest } = told;
  return {
    specversion: '1.0', id: `ev-${n}`, source: `/services/${service}`, type: `${topic}.${change}`, subject,
    time: new Date(BEGIN + n * 1_500).toISOString(), topic, sequence: digits(n), recordedtime: wall(n),
    requestid: `req-${n}`, environment: 'production', tenant: 'uk', ...rest,
  };
}

function firstEvents() {
  const life = [
    ['create', { state: 'placed', rider: null }],
    ['update', { state: 'accepted', rider: null }],
    ['update', { state: 'assigned', rider: 'c37' }],
    ['update', { state: 'picked_up', rider: 'c37' }],
  ];
  const events = [];
  const add = (told) => events.push(event(events.length + 1, told));
  for (let n = 0; n < 240; n += 1) {
    const step = life[(n - 140) / 20];
    if (step) {
      add({ change: step[0], entityseq: (n - 140) / 20 + 1, requestid: 'req-of-7' });
      const cause = events.at(-1);
      add({
        topic: 'hob.observations', service: 'hob', type: 'observed', entityseq: (n - 140) / 20 + 1, requestid: undefined,
        data: { href: cause.subject, topic: 'orders', status: 200, body: { id: 7, ...step[1] }, cause: cause.sequence, clock: cause.time },
      });
    } else if (n % 3 === 0) {
      add({ topic: 'rider.pings', type: 'ping', service: 'city', subject: `${CITY}/riders/c${n % 9}`, data: { x: 4000 + n, y: 9000 - n } });
    } else {
      add({ subject: `${CITY}/orders/${100 + (n % 30)}`, entityseq: 1 + Math.floor(n / 30) });
    }
  }
  return events;
}

const subscription = (name, service, told = {}) => ({
  name, service, environment: 'production', tenant: 'uk', topics: ['orders'], delivery: DELIVERY, state: 'active', cursor: digits(230),
  lag_events: 0, lag_seconds: 0, in_flight: 0, parked_keys: 0, dead_letters: 0, delivered: 4_210, failed: 0, streams: 0, ...told,
});

const failure = (seconds, told = {}) => ({ time: new Date(Date.now() - seconds * 1_000).toISOString(), status: 500, detail: 'the endpoint answered 500: no such template “late-2”', subject: `${CITY}/orders/7`, ...told });

function letter(n) {
  const of = event(n, { entityseq: 3 });
  return { id: of.sequence, event: of, subject: of.subject, attempts: 10, first_failed: new Date(Date.now() - 4e6).toISOString(), last_failed: failure(300).time, last_error: failure(300), replaying: false };
}

/** What there is at the start. */
export const busState = () => ({
  events: firstEvents(),
  letters: [letter(181), letter(160)],
  role: 'admin',
  subscriptions: [
    subscription('dispatch.cache', 'dispatch', { topics: ['orders', 'rider.pings'], streams: 1, lag_events: 3, lag_seconds: 0.4 }),
    subscription('orders.emails', 'mailer', {
      sink: 'https://mailer.test/hooks/hob', state: 'stalled', stall: 'breaker-open', breaker: 'open', lag_events: 1_288, lag_seconds: 2_460, in_flight: 1, parked_keys: 14, dead_letters: 2, failed: 96,
      stall_reason: 'https://mailer.test failed 8 times in a row (500); one probe at a time is sent', next_attempt: new Date(Date.now() + 42_000).toISOString(), last_error: failure(20), oldest: wall(100),
    }),
    subscription('warehouse.export', 'warehouse', { state: 'stalled', stall: 'no-consumer', lag_events: 96_310, lag_seconds: 95_000, stall_reason: 'nobody pulled for 26 h although 96,310 events wait', cursor: digits(0) }),
    subscription('storefront.cache', 'storefront', { state: 'paused', stall: 'paused', stall_reason: 'paused by admin', lag_events: 57, lag_seconds: 86 }),
    subscription('ledger.entries', 'ledger', { state: 'leased', in_flight: 40, lag_events: 40, lag_seconds: 1.2 }),
  ],
});

const hal = (body) => ({ ...body, _links: { self: { href: '/' } } });
const page = (items, next) => ({ items: items.map(hal), _links: { self: { href: '/' }, ...(next ? { next: { href: next } } : {}) } });

export function matches(each, query) {
  const list = (name) => (query.get(name) ?? '').split(',').filter(Boolean);
  const [topics, types] = [list('topic'), list('type')];
  return (
    (topics.length === 0 || topics.includes(each.topic)) &&
    (types.length === 0 || types.includes(each.type)) &&
    (!query.get('subject') || each.subject === query.get('subject')) &&
    (!query.get('request_id') || each.requestid === query.get('request_id')) &&
    (!query.get('id') || each.id === query.get('id')) &&
    (!query.get('from') || each.time >= query.get('from')) &&
    (!query.get('to') || each.time < query.get('to')) &&
    (!query.get('after') || each.sequence > digits(Number(query.get('after'))))
  );
}

function eventPage(bus, url) {
  const query = url.searchParams;
  const descending = query.get('order') === 'desc';
  const cursor = query.get('cursor');
  const found = bus.events.filter((each) => matches(each, query) && (!cursor || (descending ? each.sequence < digits(cursor) : each.sequence > digits(cursor))));
  if (descending) found.reverse();
  const items = found.slice(0, Number(query.get('limit') ?? 100));
  return page(items, found.length > items.length ? `/v1/events?cursor=${Number(items.at(-1).sequence)}` : undefined);
}

function entities(bus, url) {
  const href = url.searchParams.get('href');
  const last = bus.events.findLast((each) => each.subject === href && each.topic !== 'hob.observations');
  if (!last) return page([]);
  return page([{ href, topic: last.topic, owner: last.topic, entityseq: last.entityseq, sequence: last.sequence, entitytag: '"556de0bf"', deleted: false, last, environment: 'production', tenant: 'uk' }]);
}

function metrics(bus, url) {
  const step = Number.parseInt(url.searchParams.get('step') ?? '10', 10);
  const name = url.searchParams.get('name') ?? '';
  const last = Math.floor(Date.now() / 1000 / step) * step;
  const points = (value) => Array.from({ length: 60 }, (_, n) => ({ time: new Date((last - (59 - n) * step) * 1000).toISOString(), value: value(n) }));
  if (name === 'hob.topic.events') {
    const of = (topic, value) => ({ name, labels: { topic, service: topic }, statistic: 'count', points: points(value) });
    return page([of('orders', (n) => step * (3 + Math.sin(n / 6))), of('rider.pings', (n) => step * (40 + (n % 7))), of('hob.observations', (n) => (n > 30 ? step * 2 : 0))]);
  }
  const wanted = url.searchParams.get('service');
  const gauges = ['lag_events', 'lag_seconds', 'parked_keys', 'dead_letters'].filter((each) => name.endsWith('*') || name.endsWith(each));
  return page(
    bus.subscriptions.filter((each) => !wanted || each.service === wanted).flatMap((each) =>
      gauges.map((gauge) => ({
        name: `hob.subscription.${gauge}`, labels: { service: each.service, subscription: each.name }, statistic: 'gauge',
        points: points((n) => Math.round(each[gauge] * Math.max(0, each.state === 'stalled' ? (n - 12) / 47 : 0.5 + 0.4 * Math.sin(n / 4 + each.name.length)))),
      })),
    ),
  );
}

function act(bus, method, url, body) {
  const [, name, what] = url.pathname.match(/^\/v1\/subscriptions\/([^/]+)\/?(.*)$/) ?? [];
  const at = bus.subscriptions.findIndex((each) => each.name === name && each.service === url.searchParams.get('service'));
  if (at < 0) return undefined;
  const change = (members) => {
    bus.subscriptions = bus.subscriptions.with(at, { ...bus.subscriptions[at], ...members });
    return hal(bus.subscriptions[at]);
  };
  if (what === 'dead-letters') return page(name === 'orders.emails' ? bus.letters : []);
  const chosen = (each) => !body.ids || body.ids.includes(each.id);
  if (what === 'dead-letters/replay') {
    const count = bus.letters.filter(chosen).length;
    bus.letters = bus.letters.map((each) => (chosen(each) ? { ...each, replaying: true } : each));
    return { count };
  }
  if (what === 'dead-letters/drop') {
    const count = bus.letters.filter(chosen).length;
    bus.letters = bus.letters.filter((each) => !chosen(each));
    change({ dead_letters: bus.letters.length });
    return { count };
  }
  if (what === 'snapshot') return { count: 412 };
  if (what === 'secret') return { ...bus.subscriptions[at], secret: 'whsec_c2hvd24gb25jZSBvbmx5' };
  if (what === 'cursor') return change({ cursor: digits(240), lag_events: 0, lag_seconds: 0 });
  if (method === 'PATCH' && body.state === 'paused') return change({ state: 'paused', stall: 'paused', stall_reason: 'paused by admin', paused_until: body.until });
  if (method === 'PATCH') return change({ state: 'active', stall: undefined, stall_reason: undefined, paused_until: undefined });
  return undefined;
}

/** The answer of the bus to a call, or nothing when it is not about it. */
export function busAnswer(bus, method, url, body) {
  const path = url.pathname;
  if (path === '/v1/topics') {
    const count = (name) => bus.events.filter((each) => each.topic === name).length;
    return page(['orders', 'rider.pings', 'restaurants', 'hob.observations', 'hob.conditions'].map((name) => ({ name, kind: 'notify', owner: name.startsWith('hob') ? 'hob' : name, environment: 'production', tenant: 'uk', events: count(name), delayed: 0 })));
  }
  if (path === '/v1/events') return eventPage(bus, url);
  if (path.startsWith('/v1/events/')) {
    const found = bus.events.find((each) => each.sequence === path.slice(11));
    return found && hal(found);
  }
  if (path === '/v1/entities') return entities(bus, url);
  if (path === '/v1/metrics') return metrics(bus, url);
  if (path === '/v1/subscriptions') return page(bus.subscriptions);
  if (path.startsWith('/v1/subscriptions/')) return act(bus, method, url, body);
  if (path === '/v1/logs' && url.searchParams.get('request_id') === 'req-of-7') {
    const at = Date.parse(bus.events.find((each) => each.requestid === 'req-of-7').recordedtime);
    const record = (sequence, after, source, message, fields) => ({ sequence: digits(sequence), time: new Date(at + after).toISOString(), level: 'info', source, service: 'orders', message, request_id: 'req-of-7', environment: 'production', tenant: 'uk', release: 7, fields });
    return page([record(2, 31, 'access', 'POST /orders 201 43.2 ms', { duration_ms: 43.2 }), record(1, -6, 'stdout', 'order placed', {})]);
  }
  return undefined;
}
