// The stand-in's city: what issues say beyond their state, entities, their lives, the map.

/** A number from 0 to 1 that is the same each time. */
const chance = (n) => {
  const x = Math.sin(n * 12.9898) * 43758.5453;
  return x - Math.floor(x);
};
const ZONES = ['N1', 'N4', 'E2', 'SE1', 'W8'];
const ORIGIN = 'http://city.test';

/** What makes the priority of an issue. */
export const terms = (priority) => {
  const urgency = Math.round(priority * 0.3);
  return [
    { name: 'base', points: priority - urgency - 5, text: 'the rule says so' },
    { name: 'urgency', points: urgency, text: '12 min until the first is too late' },
    { name: 'members', points: 5, text: '2 orders' },
  ];
};

const place = (n, spread) => ({ x: 448_000 + (chance(n) - 0.5) * spread, y: 4_626_000 + (chance(n + 0.5) - 0.5) * spread });
const near = ({ x, y }, n) => ({ x: x + (chance(n + 50) - 0.5) * 4200, y: y + (chance(n + 77) - 0.5) * 4200 });
const STATES = ['to_restaurant', 'to_customer', 'idle', 'waiting', 'returning'];

export const restaurants = Array.from({ length: 60 }, (_, n) => ({
  href: `${ORIGIN}/restaurants/${n + 1}`, kind: 'restaurant', label: `Kitchen ${n + 1}`, ...place(n + 1, 16_000),
  ...(n % 13 === 2 ? { priority: 75 } : {}),
}));
export const riders = Array.from({ length: 90 }, (_, n) => {
  const state = STATES[n % 5];
  return {
    href: `${ORIGIN}/riders/${n + 1}`, kind: 'rider', label: `Rider ${n + 1}`, ...near(restaurants[n % 60], n), state,
    ...(n === 2 ? { priority: 82 } : {}), ...(state === 'idle' ? {} : { links: { restaurant: restaurants[n % 60].href } }),
  };
});
const CENTRES = [[-800, 5200], [4600, 2400], [5000, -3800], [-1200, -4600], [-5600, 600]];
export const zones = ZONES.map((id, n) => ({ href: `${ORIGIN}/zones/${id}`, kind: 'zone', label: id, x: 448_000 + CENTRES[n][0], y: 4_626_000 + CENTRES[n][1] }));

/** Everything that has a position. */
export const places = [...zones, ...restaurants, ...riders];

const ORDER_STATES = ['placed', 'accepted', 'assigned', 'picked_up', 'delivered'];
/** Entities as the engine sees them. */
export function entities(kind, at) {
  const time = (minutes) => new Date(at + minutes * 60_000).toISOString();
  if (kind === 'order') {
    return Array.from({ length: 900 }, (_, n) => ({
      href: `${ORIGIN}/orders/${n + 1}`, kind, label: `order ${n + 1}`, ...(n % 101 === 7 ? { known: false, trouble: 'its href answered 503' } : { known: true }),
      fields: {
        id: String(n + 1), state: ORDER_STATES[n % 5], restaurant: `${ORIGIN}/restaurants/${(n % 60) + 1}`, rider: n % 5 > 1 ? `${ORIGIN}/riders/${(n % 90) + 1}` : null,
        zone: ZONES[n % 5], placed_at: time(-n % 50), promised_at: time(40 - (n % 50)), quoted_minutes: 30 + (n % 4) * 5, preparation_minutes: 12 + (n % 9),
      },
      relations: { restaurant: [`${ORIGIN}/restaurants/${(n % 60) + 1}`], ...(n % 5 > 1 ? { rider: [`${ORIGIN}/riders/${(n % 90) + 1}`] } : {}) },
      ...(n % 37 === 0 ? { issues: ['is-00001'], priority: 89 } : {}),
    }));
  }
  const list = kind === 'rider' ? riders : kind === 'restaurant' ? restaurants : [];
  return list.map(({ href, label, state, x, y, priority }, n) => ({
    href, kind, label, known: true, position: [x, y], ...(priority ? { priority, issues: ['is-00002'] } : {}),
    fields: kind === 'rider' ? { id: String(n + 1), name: label, state, zone: ZONES[n % 5], on_job: state !== 'idle' } : { id: String(n + 1), name: label, accepting: n % 17 !== 3, open_orders: n % 6, late_orders: n % 13 === 5 ? 3 : 0 },
  }));
}

/** The life of an entity, newest first. */
export function timeline(href, at) {
  const time = (seconds) => new Date(at - seconds * 1000).toISOString();
  const name = href.split('/').slice(-2).join('/');
  const moment = (seconds, kind, text, more = {}) => ({ time: time(seconds), recorded: time(seconds), kind, text, ...more });
  return [
    moment(20, 'ping', 'moved 84 m in 60 s', { values: { x: 448_120, y: 4_626_300 } }),
    moment(90, 'issue', 'opened by rule/order-unassigned', { issue: 'is-00001' }),
    moment(100, 'command', 'noted by ada: a call to the restaurant', { issue: 'is-00001' }),
    moment(200, 'log', 'dispatch: no rider within 15 minutes', { requestid: 'req-of-7' }),
    moment(400, 'event', `${name} was accepted`, { sequence: '00000000000000004003', values: { state: 'accepted' } }),
    moment(460, 'observed', 'read after 40 ms', { values: { state: 'placed', zone: 'N4' } }),
    moment(500, 'event', `${name} was placed`, { sequence: '00000000000000004001' }),
  ];
}

/** Kinds that a filter of the stand-in understands: `order.state == "placed"`, joined by `&&`. */
export function holds(filter, entity) {
  if (!filter) return true;
  return filter.split('&&').every((part) => {
    const [, , field, sign, value] = part.trim().match(/^(\w+)\.(\w+)\s*(==|!=|>=|>|<)\s*(.+)$/) ?? [];
    if (!field) return false;
    const wanted = JSON.parse(value.replaceAll("'", '"'));
    const has = entity.fields[field];
    return { '==': has === wanted, '!=': has !== wanted, '>': has > wanted, '>=': has >= wanted, '<': has < wanted }[sign];
  });
}

export function liveAnswer(state, method, url) {
  const path = url.pathname;
  if (method !== 'GET') return undefined;
  if (path === '/v1/map') return { items: places, _links: { self: { href: path } } };
  if (path === '/v1/me') return { name: 'admin', role: state.bus.role };
  const at = url.searchParams.get('at');
  if (path === '/v1/entities/timeline') return { items: timeline(url.searchParams.get('href'), state.clock).filter((each) => !url.searchParams.get('until') || each.time < url.searchParams.get('until')), _links: {} };
  if (path === '/v1/entities/state') {
    const href = url.searchParams.get('href');
    const at = url.searchParams.get('at') ?? new Date(state.clock).toISOString();
    const kind = href.split('/').at(-2).slice(0, -1);
    const found = entities(kind, state.clock).find((each) => each.href === href);
    const past = at < new Date(state.clock - 30_000).toISOString();
    const gone = !found || at < new Date(state.clock - 500_000).toISOString();
    if (gone) return { href, at };
    const links = Object.fromEntries(Object.entries(found.relations ?? {}).map(([name, [target]]) => [name, { href: target }]));
    return { href, at, observed: at, representation: { ...found.fields, ...(past && kind === 'order' ? { state: 'placed' } : {}), _links: { self: { href }, ...links } } };
  }
  if (path === '/v1/entities' && url.searchParams.get('kind')) {
    const kind = url.searchParams.get('kind');
    const filter = url.searchParams.get('filter') ?? '';
    if (filter && !/^[\w\s.=!<>"'&-]+$/.test(filter)) return undefined;
    const wanted = url.searchParams.get('href');
    const all = entities(kind, state.clock).filter((each) => (!wanted || each.href === wanted) && holds(filter, each));
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const limit = Number(url.searchParams.get('limit') ?? 100);
    const next = from + limit < all.length ? { next: { href: `${path}?kind=${kind}&cursor=${from + limit}` } } : {};
    return { items: all.slice(from, from + limit), total: all.length, _links: { self: { href: path }, ...next } };
  }
  return undefined;
}
