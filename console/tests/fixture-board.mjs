// A board on which everything that an issue may be can be seen.

import { issue, NOON } from './fixture.mjs';

const ORIGIN = 'http://city.test';
const at = (minutes) => new Date(NOON + minutes * 60_000).toISOString();
const order = (n, minutes) => ({ href: `${ORIGIN}/orders/${n}`, label: `order ${n}`, slack_at: at(minutes) });

export const ACTIONS = [
  { relation: 'restaurant:call', title: 'call the restaurant', mode: 'suggest', state: 'offered', href: `${ORIGIN}/restaurants/3/call`, method: 'POST' },
  { relation: 'restaurant:pause', title: 'pause the restaurant', mode: 'approve', state: 'waiting', action: 'ac-17', until: at(9), reason: 'rule/restaurant-running-late wants it', href: `${ORIGIN}/restaurants/3/pause`, method: 'POST' },
  { relation: 'orders:requote', title: 'tell honest quotes', mode: 'auto', state: 'running', href: `${ORIGIN}/restaurants/3/quotes`, method: 'POST' },
  { relation: 'rider:reassign', title: 'assign another rider', mode: 'suggest', state: 'failed', reason: 'the riders service answered 503 after 3 attempts' },
  { relation: 'rider:message', title: 'message the rider', mode: 'auto', state: 'refused', reason: 'once in 30 min for each rider: the last was 4 min ago' },
];

/** A group with three below it, a storm, and one of each other kind. */
export function everything() {
  const zone = issue(201, {
    id: 'is-00201', rule: 'zone-short-of-riders', key: 'zone/N4/short-of-riders', about: `${ORIGIN}/zones/N4`, priority: 93, children: 3, title: 'Zone N4 is short of riders: 7 orders wait',
    terms: [{ name: 'base', points: 70, text: 'the rule says so' }, { name: 'urgency', points: 12, text: 'order 12 is too late in 18 min' }, { name: 'members', points: 11, text: '7 orders' }],
    members: { count: 10_412, worst: at(-2), first: [order(12, 18), order(31, -2), order(44, 9), order(45, 41), order(46, 44), order(47, 51), order(48, 52)] },
  });
  const children = [1, 5, 9].map((n) => issue(n, { parent: zone.id, priority: 60 - n }));
  return [
    zone,
    ...children,
    issue(3, { priority: 88, actions: ACTIONS, members: { count: 5, worst: at(11), first: [order(7, 11), order(8, 24)] }, affects: [`${ORIGIN}/orders/7`, `${ORIGIN}/orders/8`] }),
    issue(202, { id: 'is-00202', rule: 'order-about-to-be-late', key: 'order-about-to-be-late/storm', about: `${ORIGIN}/rules/order-about-to-be-late`, priority: 84, storm: true, title: 'The rule order-about-to-be-late opens too many: 214 in 10 minutes', members: { count: 214, first: [] } }),
    issue(2, { priority: 77, unknown: 'riders/2 has sent no position for 4 minutes', assignee: 'ada', state: 'acknowledged', acknowledged: at(-2) }),
    issue(6, { priority: 71, assignee: 'admin', state: 'acknowledged', acknowledged: at(-1) }),
    issue(4, { priority: 66, escalated: 2 }),
    issue(7, { priority: 58, verify_at: at(5), reopenings: 2 }),
    issue(8, { priority: 90, snoozed: { until: at(25), worse: true, by: 'ada' } }),
    issue(11, { priority: 22 }),
  ];
}
