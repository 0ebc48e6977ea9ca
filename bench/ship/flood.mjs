// Orders beside a flood and beside slow clients (B6): 100 orders a second from many addresses, 20 times as much from
// five, and slowhttptest's slow heads, slow bodies and slow reads. How many orders succeed, and how long they take.
// usage: node bench/ship/flood.mjs HOB SERVICE PEERS WORK [--seconds 10] [--json FILE]

import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Load } from './load.mjs';
import { Hob } from './systems.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '10' }, json: { type: 'string' } },
});
const [binary, service, peers, work] = positionals;
if (!work) {
  console.error('usage: node bench/ship/flood.mjs HOB SERVICE PEERS WORK [options]');
  process.exit(2);
}
const root = path.join(peers, 'root');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const seconds = Number(values.seconds);
const many = Array.from({ length: 200 }, (_, i) => `127.1.${Math.floor(i / 250)}.${(i % 250) + 1}`);
const five = [2, 3, 4, 5, 6].map((last) => `127.0.0.${last}`);

function slow(origin, kind) {
  const libraries = `${root}/usr/lib/x86_64-linux-gnu:${root}/usr/lib/aarch64-linux-gnu`;
  const args = ['-c', '1000', kind, '-i', '5', '-r', '200', '-l', String(seconds + 2), '-u', origin];
  return spawn(`${root}/usr/bin/slowhttptest`, args, { env: { ...process.env, LD_LIBRARY_PATH: libraries }, stdio: 'ignore' });
}

/** Orders for a while, with something beside them. */
async function orders(origin, beside) {
  const load = new Load(origin, { rate: 100, slowShare: 0, fastMs: 5, websockets: 0, addresses: many });
  const other = beside();
  await sleep(500);
  load.start();
  await sleep(seconds * 1000);
  await load.stop();
  await other?.end();
  const report = load.report();
  const told = other?.report?.();
  return { orders: report.sent, failed: report.failed, p50: report.over_ms.outside.p50, p99: report.over_ms.outside.p99,
    ...(told ? { flood: told.sent, refused: told.failures['status 429'] ?? 0 } : {}) };
}

const flood = (origin) => () => {
  const load = new Load(origin, { rate: 2000, slowShare: 0, fastMs: 0, websockets: 0, addresses: five });
  load.start();
  return { end: () => load.stop(), report: () => load.report() };
};
const slowly = (origin, kind) => () => {
  const child = slow(origin, kind);
  return { end: async () => child.kill('SIGKILL') };
};

const folder = path.join(work, 'flood');
await fs.rm(folder, { recursive: true, force: true });
await fs.mkdir(folder, { recursive: true });
const terms = { routes: [{ path: '/', limit: { per: 'client_ip', rate: '20/s', burst: 40 } }] };
const system = new Hob({ binary, service, folder, instances: 2, terms });
await system.start();
try {
  const origin = `http://127.0.0.1:${system.port}`;
  const cells = { calm: () => null, 'flood of 20 times': flood(origin), 'slow heads': slowly(origin, '-H'),
    'slow bodies': slowly(origin, '-B'), 'slow reads': slowly(origin, '-X') };
  const rows = [];
  for (const [what, beside] of Object.entries(cells)) {
    rows.push({ cell: 'flood', what, ...(await orders(origin, beside)) });
    process.stderr.write(`${what} done\n`);
  }
  console.table(rows);
  if (values.json) for (const row of rows) await fs.appendFile(values.json, `${JSON.stringify(row)}\n`);
} finally {
  await system.stop();
}
