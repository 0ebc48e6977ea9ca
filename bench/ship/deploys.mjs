// Deploys and rollbacks under load (B1, B2): what is lost, how long the longest stall is, how long each takes.
// usage: node bench/ship/deploys.mjs HOB SERVICE PEERS WORK [--deploys 20] [--instances 2] [--systems hob,nginx,…]
//        [--disturb core,router] [--json FILE]

import fs from 'node:fs/promises';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { Load } from './load.mjs';
import { Caddy, Haproxy, Hob, Nginx, answers } from './systems.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    deploys: { type: 'string', default: '20' }, instances: { type: 'string', default: '2' },
    systems: { type: 'string', default: 'hob,nginx,haproxy,caddy' }, rate: { type: 'string', default: '500' },
    disturb: { type: 'string', default: '' }, calm: { type: 'string', default: '3' }, json: { type: 'string' },
  },
});
const [binary, service, peers, work] = positionals;
if (!work) {
  console.error('usage: node bench/ship/deploys.mjs HOB SERVICE PEERS WORK [options]');
  process.exit(2);
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const root = path.join(peers, 'root');
const kinds = { hob: Hob, nginx: Nginx, haproxy: Haproxy, caddy: Caddy };
const instances = Number(values.instances);
// Peers close websockets five seconds after the swap at the latest, as their scripts do.
const terms = { drain: { websockets: { spread: '5s' } } };

/** What happens in the middle of every third deploy, when it is asked for. */
async function disturb(system, number, what) {
  if (system.name !== 'hob' || what.length === 0 || number % 3 !== 1) return;
  const kind = what[Math.floor(number / 3) % what.length];
  await sleep(60);
  if (kind === 'core') process.kill((await system.processes()).core, 'SIGKILL');
  if (kind === 'router') await system.hob('router', '--upgrade');
}

async function measure(kind) {
  const folder = path.join(work, `${kind}-${instances}`);
  await fs.rm(folder, { recursive: true, force: true });
  await fs.mkdir(folder, { recursive: true });
  const system = new kinds[kind]({ binary, service, root, folder, instances, terms });
  await system.start();
  const load = new Load(`http://127.0.0.1:${system.port}`, { rate: Number(values.rate) });
  const windows = [];
  const took = [];
  const errors = [];
  try {
    load.start();
    await sleep(Number(values.calm) * 1000);
    const what = values.disturb.split(',').filter(Boolean);
    for (let number = 0; number < Number(values.deploys); number += 1) {
      const from = load.now();
      const trouble = disturb(system, number, what);
      await system.deploy().catch((error) => errors.push(String(error.stderr || error).slice(0, 300)));
      await trouble;
      took.push(load.now() - from);
      windows.push([from, load.now()]);
      process.stderr.write(`\r${system.name}: deploy ${number + 1} of ${values.deploys}, ${load.sent} requests   `);
      await sleep(500);
    }
    const rollback = await timeRollback(system);
    await sleep(1000);
    await load.stop();
    took.sort((a, b) => a - b);
    const routed = load.switches(windows);
    const report = { system: system.name, instances, deploys: took.length, ...load.report(windows), rollback_ms: rollback, routed_ms: routed,
      deploy_ms: { p50: Math.round(took[took.length >> 1]), max: Math.round(took.at(-1)) } };
    if (errors.length) report.errors = errors;
    return report;
  } finally {
    await system.stop();
    process.stderr.write('\n');
  }
}

/** From the command to the last answer of the release that was left, and to the end of the command. */
async function timeRollback(system) {
  const old = await answers(system.port, '/?ms=0');
  const begun = performance.now();
  let last = 0;
  let isOver = false;
  const watch = (async () => {
    while (!isOver) {
      if ((await answers(system.port, '/?ms=0').catch(() => null)) === old) last = performance.now() - begun;
      await sleep(2);
    }
  })();
  await system.rollback();
  const command = performance.now() - begun;
  await sleep(1000);
  isOver = true;
  await watch;
  return { last_old_answer: Math.round(last), command: Math.round(command) };
}

const reports = [];
for (const kind of values.systems.split(',')) {
  const report = await measure(kind);
  reports.push(report);
  if (values.json) await fs.appendFile(values.json, `${JSON.stringify({ cell: 'deploys', disturb: values.disturb, ...report })}\n`);
}
console.table(reports.map((report) => ({
  system: report.system, instances: report.instances, deploys: report.deploys, sent: report.sent, failed: report.failed,
  'failed/M': report.failed_per_million, 'stall ms': report.stall_ms,
  'p99 over, in': report.over_ms.inside.p99, 'p99 over, out': report.over_ms.outside.p99,
  'first new ms': report.routed_ms.first_new, 'last old ms': report.routed_ms.last_old, 'deploy ms': report.deploy_ms.p50, 'rollback ms': report.rollback_ms.last_old_answer,
  'ws broken': report.websockets.broken, 'ws clean': report.websockets.closedCleanly,
})));
for (const report of reports) if (report.failed || report.errors) console.log(report.system, report.failures, report.errors ?? '');
