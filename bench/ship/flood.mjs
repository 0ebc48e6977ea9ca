// Orders beside a flood and beside slow clients (B6): 100 orders a second from many addresses, 20 times as much from
// five, and slowhttptest's slow heads, slow bodies and slow reads. How many orders succeed, and how long they take; nginx
// with `limit_req` and haproxy with a stick table stand beside.
// usage: node bench/ship/flood.mjs HOB SERVICE PEERS WORK [--seconds 10] [--systems hob,nginx,haproxy] [--json FILE]

import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Load } from './load.mjs';
import { Haproxy, Hob, Nginx } from './systems.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '10' }, systems: { type: 'string', default: 'hob,nginx,haproxy' }, json: { type: 'string' },
    flood: { type: 'string' },
  },
});
const five = [2, 3, 4, 5, 6].map((last) => `127.0.0.${last}`);
if (values.flood) {
  const load = new Load(values.flood, { rate: 2000, slowShare: 0, fastMs: 0, websockets: 0, addresses: five });
  load.start();
  await new Promise((done) => process.stdin.on('end', done).resume());
  await load.stop();
  console.log(JSON.stringify(load.report()));
  process.exit(0);
}
const [binary, service, peers, work] = positionals;
if (!work) {
  console.error('usage: node bench/ship/flood.mjs HOB SERVICE PEERS WORK [options]');
  process.exit(2);
}
const root = path.join(peers, 'root');
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const seconds = Number(values.seconds);
const many = Array.from({ length: 200 }, (_, i) => `127.1.${Math.floor(i / 250)}.${(i % 250) + 1}`);

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

/** In a process of its own: what it waits for shall not be what the orders wait for. */
const flood = (origin) => () => {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--flood', origin], { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (data) => { text += data; });
  const ended = new Promise((done) => child.once('exit', done));
  return { end: () => { child.stdin.end(); return ended; }, report: () => JSON.parse(text) };
};
const slowly = (origin, kind) => () => {
  const child = slow(origin, kind);
  return { end: async () => child.kill('SIGKILL') };
};

const kinds = { hob: Hob, nginx: Nginx, haproxy: Haproxy };
const rows = [];
for (const kind of values.systems.split(',')) {
  const folder = path.join(work, `flood-${kind}`);
  await fs.rm(folder, { recursive: true, force: true });
  await fs.mkdir(folder, { recursive: true });
  const terms = { routes: [{ path: '/', limit: { per: 'client_ip', rate: '20/s', burst: 40 } }] };
  const system = new kinds[kind]({ binary, service, root, folder, instances: 2, terms, limited: true });
  await system.start();
  try {
    const origin = `http://127.0.0.1:${system.port}`;
    const cells = { calm: () => null, 'flood of 20 times': flood(origin), 'slow heads': slowly(origin, '-H'),
      'slow bodies': slowly(origin, '-B'), 'slow reads': slowly(origin, '-X') };
    for (const [what, beside] of Object.entries(cells)) {
      const row = { cell: 'flood', system: kind, what, ...(await orders(origin, beside)) };
      rows.push(row);
      if (values.json) await fs.appendFile(values.json, `${JSON.stringify(row)}\n`);
      process.stderr.write(`${kind}: ${what} done\n`);
    }
  } finally {
    await system.stop();
  }
}
console.table(rows);
