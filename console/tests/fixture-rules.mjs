// The stand-in's rules, the days that were, and back-tests.

const DAY = 86_400_000;
const day = (at, back) => new Date(at - back * DAY).toISOString().slice(0, 10);

export const TEXT = `# Dispatch looks for a rider from fifteen minutes before the food is ready.
rule: order-unassigned
about: order
deadline: { field: order.dispatchable_at, after: 8m, unless: "order.state != 'accepted'" }
gate: order.unacceptable_at - now < duration('27m')
issue:
  title: order {{order.id}} has had no rider for {{held}}
  key: order/{{order.id}}/unassigned
  priority: 60
`;

/** A rule with how it does. */
export function rule(n, name, about, at, changes = {}) {
  return {
    name, about, file: `rules/${about}s.yml`, mode: 'enabled', open: n % 3, opened_total: 40 + n * 17, state: 'watching', max_open: 200, per_entity: 0.03,
    opened_by_day: Array.from({ length: 7 }, (_, back) => ({ day: day(at, back), opened: (n * 5 + back * 3) % 11 })),
    precision: 0.42 + n * 0.11, last_opened: new Date(at - n * 400_000 - 60_000).toISOString(), cost: { micros: 1.7 + n, evaluations: 120_400 },
    ...changes,
  };
}

export const rules = (at) => [
  rule(1, 'order-unassigned', 'order', at),
  rule(2, 'order-about-to-be-late', 'order', at, { precision: undefined }),
  rule(3, 'rider-stopped', 'rider', at, { state: 'unknown', reason: 'rider.stopped reads a field that no observation had for 4 minutes' }),
  rule(4, 'restaurant-running-late', 'restaurant', at),
  rule(2, 'order-unassigned-shadow', 'order', at, { mode: 'shadow', opened_total: 19, open: 2, precision: 0.71 }),
  rule(0, 'zone-short-of-riders', 'zone', at, { mode: 'disabled', opened_by_day: [], last_opened: undefined, precision: undefined, open: 0, opened_total: 0, cost: undefined, reason: 'it took over 1 ms an evaluation, five times' }),
];

/** Figures of a day: one in seven is bad. */
export function days(at, count = 24) {
  return Array.from({ length: count }, (_, back) => {
    const wave = Math.sin(back * 1.7) * 9;
    const bad = back % 7 === 3 ? 2.2 : 1;
    const orders = Math.round(1_500 + wave * 30);
    const opened = Math.round((60 + wave) * bad);
    return {
      day: day(at, back), opened, resolved: opened - (back % 3), reopened: back % 4, false_alarms: Math.round(6 + wave / 3), investigations: Math.round(opened * 0.8), actions: 12,
      acknowledge: { count: opened, p50: 48 * bad + wave, p90: 190 * bad + wave * 4 }, resolve: { count: opened, p50: 420 + wave * 8, p90: 1_500 * bad + wave * 20 },
      entities: { order: orders }, investigations_per: { order: (opened * 0.8) / orders },
      outcomes: { 'order.unacceptable': { count: Math.round(orders * 0.028 * bad), of: orders, share: 0.028 * bad } },
    };
  });
}

/** A report such as the real engine makes. */
export function report(at, { sweep }) {
  const time = (back) => new Date(at - back).toISOString();
  const trial = (n, swept) => ({
    rule: 'order-unassigned', ...(swept ? { with: swept } : {}), issues: 84 - n * 13, issues_per_entity: 0.008, open_most: 7, flagged: 71, flagged_share: 0.021 - n * 0.003,
    precision: 0.48 + n * 0.09, recall: 0.31 - n * 0.05, unacted: [23, 11], acted: [61, 4], lead: [600, 1_800 - n * 200, 2_500], latency: [300, 360 + n * 90, 900], extra: 6, missed: 11, over_budget: [],
    samples: swept ? [] : [
      { title: 'order 7 has had no rider for 8 minutes', about: 'http://city.test/orders/7', opened: time(DAY), bad: true, timeline: [{ time: time(DAY), recorded: time(DAY), kind: 'rule', text: 'it was 8 minutes after order.dispatchable_at' }] },
      { title: 'order 12 has had no rider for 8 minutes', about: 'http://city.test/orders/12', opened: time(2 * DAY), bad: false, timeline: [] },
    ],
  });
  const [name, values = ''] = (sweep ?? '').split('=');
  return {
    since: time(7 * DAY), until: time(0), inputs: 3_100_412, kind: 'order', outcome: 'unacceptable', entities: 10_412, bad: 294, open: 31, acted: 61,
    notes: ['people acted on 61 of the 84 entities that it flags: how these would have ended is not known'],
    rules: [trial(1), ...(values ? values.split(',').map((value, n) => trial(n, `${name}=${value}`)) : [])],
  };
}

/** A word that is written wrong is found at its place. */
export function check(text) {
  const lines = text.split('\n');
  const flaws = [];
  for (const [index, line] of lines.entries()) {
    const column = line.indexOf('order.stat ');
    if (column >= 0) flaws.push({ file: 'rules/orders.yml', line: index + 1, column: column + 1, what: 'there is no field `stat` of order', hint: 'did you mean `state`?' });
    if (line.startsWith('prioritty')) flaws.push({ file: 'rules/orders.yml', line: index + 1, column: 1, what: 'unknown key `prioritty`', hint: 'did you mean `priority`?' });
  }
  return { flaws };
}

/** What was done: one by a rule with an approval, one by a person that failed. */
const actions = (at) => [
  { id: 'ac-2', issue: 'is-00003', rule: 'restaurant-running-late', about: 'http://city.test/restaurants/3', relation: 'restaurant:pause', title: 'pause the restaurant', href: 'http://city.test/restaurants/3/pause', method: 'POST', mode: 'approve', state: 'done', actor: 'rule/restaurant-running-late', approved_by: 'ada', reason: 'it is 14 minutes behind', asked: new Date(at - 90_000).toISOString(), status: 204, depth: 0 },
  { id: 'ac-1', issue: 'is-00002', rule: 'rider-stopped', about: 'http://city.test/riders/2', relation: 'rider:reassign', title: 'assign another rider', href: 'http://city.test/riders/2/reassign', method: 'POST', mode: 'suggest', state: 'failed', actor: 'bob', reason: 'riders answered 503', asked: new Date(at - 900_000).toISOString(), status: 503, depth: 0 },
];

export function rulesAnswer(state, method, url, body) {
  const path = url.pathname;
  if (path === '/v1/rules') return { items: state.rules ?? rules(state.clock), _links: {} };
  if (/^\/v1\/rules\/[^/]+\/text$/.test(path)) return { file: 'rules/orders.yml', text: TEXT };
  if (method === 'POST' && path === '/v1/rules/check') return check(body.text);
  if (method === 'POST' && path === '/v1/rules/backtest') return report(state.clock, body);
  if (path === '/v1/issues/figures') return { items: state.days ?? days(state.clock), _links: {} };
  if (path === '/v1/actions') return { items: actions(state.clock), _links: {} };
  if (path === '/v1/actions/state') return { ...(state.actionsPaused ? { paused: state.actionsPaused } : {}) };
  if (method === 'POST' && path === '/v1/actions/pause') return { paused: (state.actionsPaused = { by: 'admin', reason: body.reason, since: new Date(state.clock).toISOString() }) };
  if (method === 'POST' && path === '/v1/actions/resume') return ((state.actionsPaused = undefined), {});
  return undefined;
}
