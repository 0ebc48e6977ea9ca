// Scores a day that the takeaway played: what was injected against what was found. Node alone, no packages.
// usage: node bench/day.mjs http://127.0.0.1:7070 TOKEN

const [api, token] = process.argv.slice(2);
if (!api || !token) {
  console.error('usage: node bench/day.mjs API TOKEN');
  process.exit(2);
}

const MINUTE = 60_000;
/** Which rules should find which fault; the others are harmless and should not be found. */
const FINDS = {
  rider_stalled: ['rider-stopped', 'rider-overdue'],
  restaurant_slow: ['restaurant-running-late'],
  tablet_offline: ['restaurant-not-accepting'],
  dispatch_blocked: ['order-unassigned', 'zone-short-of-riders'],
};
/** An issue may open this long after its fault has ended: a late kitchen stays late. */
const AFTER = 60 * MINUTE;

async function get(url) {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function list(path) {
  const items = [];
  for (let next = path; next; ) {
    const page = await get(api + next);
    items.push(...page.items);
    next = page._links.next?.href;
  }
  return items;
}

const { router_url: router } = await get(`${api}/v1/status`);
const status = await get(`${router}/city/status`);
const truth = await get(`${router}/city/truth`);
const issues = await list('/v1/issues?limit=1000');
const time = (text) => (text ? Date.parse(text) : Infinity);

const matches = (fault, issue) =>
  (issue.about === fault.subject || issue.affects?.includes(fault.subject)) &&
  time(issue.opened) >= time(fault.started) &&
  time(issue.opened) <= time(fault.ended) + AFTER;

console.log(`orders: ${status.placed} placed, ${status.delivered} delivered, ${status.cancelled} cancelled, ` +
  `${status.late} late, ${status.unacceptable} unacceptable; held ${status.held_seconds} simulated s; ended ${status.ended}`);
const lost = status.placed - status.delivered - status.cancelled;
console.log(`orders that never ended: ${lost}`);

console.log('\nfault              injected  found  missed  median minutes to find');
for (const [kind, finders] of Object.entries(FINDS)) {
  const faults = truth.filter((fault) => fault.kind === kind);
  const delays = [];
  for (const fault of faults) {
    const found = issues.filter((issue) => finders.includes(issue.rule) && matches(fault, issue));
    if (found.length) delays.push(Math.min(...found.map((issue) => time(issue.opened) - time(fault.started))) / MINUTE);
  }
  delays.sort((a, b) => a - b);
  const median = delays.length ? delays[Math.floor(delays.length / 2)].toFixed(1) : '-';
  const missed = faults.length - delays.length;
  console.log(`${kind.padEnd(18)} ${String(faults.length).padStart(8)} ${String(delays.length).padStart(6)} ${String(missed).padStart(7)}  ${median}`);
}
for (const kind of ['gps_gap', 'lost_pickup']) {
  console.log(`${kind.padEnd(18)} ${String(truth.filter((fault) => fault.kind === kind).length).padStart(8)}      -       -  harmless`);
}

console.log('\nrule                       issues  without a fault');
const rules = [...new Set(issues.map((issue) => issue.rule))].sort();
for (const rule of rules) {
  const own = issues.filter((issue) => issue.rule === rule);
  let without;
  if (rule === 'order-unassigned') {
    const ends = await Promise.all(own.map(async (issue) => {
      const order = await (await fetch(router + new URL(issue.about).pathname)).json();
      return !order.delivered_at || time(order.delivered_at) > time(order.promised_at);
    }));
    without = `${ends.filter((late) => !late).length} (of orders that came in time)`;
  } else {
    without = own.filter((issue) => !truth.some((fault) => FINDS[fault.kind]?.includes(rule) && matches(fault, issue))).length;
  }
  console.log(`${rule.padEnd(26)} ${String(own.length).padStart(6)}  ${without}`);
}

let before = 0n;
let events = 0;
let orders = new Set();
for (let next = '/v1/events?topic=orders&limit=1000'; next; ) {
  const page = await get(api + next);
  for (const event of page.items) {
    const sequence = BigInt(event.sequence);
    if (sequence <= before) throw new Error(`event ${event.sequence} is out of order`);
    before = sequence;
    events += 1;
    orders.add(event.subject);
  }
  next = page._links.next?.href;
}
console.log(`\nevents of orders: ${events}, in order, about ${orders.size} orders`);
