// Instances: from 3 to many until all are ready (B8), a second at each level of isolation (B5), and the first request
// to a service that was scaled to zero (B4); beside the bare cost of starting as many processes.
// usage: node bench/ship/scale.mjs HOB SERVICE WORK [--to 350] [--cells scale,levels,zero] [--json FILE]

import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { Hob, answers, freePort, usage } from './systems.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { to: { type: 'string', default: '350' }, each: { type: 'string', default: '100' }, cells: { type: 'string', default: 'scale,levels,zero' }, json: { type: 'string' } },
});
const [binary, service, work] = positionals;
if (!work) {
  console.error('usage: node bench/ship/scale.mjs HOB SERVICE WORK [options]');
  process.exit(2);
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const to = Number(values.to);

/** Milliseconds until so many bare processes of the service listen. */
async function bare(count) {
  const ports = [];
  for (let i = 0; i < count; i += 1) ports.push(await freePort());
  const begun = performance.now();
  const children = ports.map((port) => spawn(service, [], { env: { PORT: String(port) }, stdio: 'ignore' }));
  await Promise.all(ports.map((port) => answers(port, '/health', { within: 60_000 })));
  const took = performance.now() - begun;
  for (const child of children) child.kill('SIGKILL');
  return took;
}

async function hob(name, terms, instances, body) {
  const folder = path.join(work, name);
  await fs.rm(folder, { recursive: true, force: true });
  await fs.mkdir(folder, { recursive: true });
  const system = new Hob({ binary, service, folder, instances, terms });
  await system.start();
  try {
    return await body(system);
  } finally {
    await system.stop();
  }
}

/** Milliseconds from the command until so many are ready. */
async function scaled(system, count) {
  const begun = performance.now();
  await system.scale(count);
  for (;;) {
    if ((await system.ready()) >= count) return performance.now() - begun;
    if (performance.now() - begun > 120_000) throw new Error(`not ${count} ready after two minutes`);
    await sleep(20);
  }
}

/** Megabytes (PSS) that the shims have for each instance. */
async function shims(system, instances) {
  const { memory } = await usage(await system.shims());
  return Math.round(memory / instances / 1e4) / 100;
}

const limits = { scale: { min: 1, max: 1000 } };
const cells = {
  async scale() {
    const fork = await bare(to - 3);
    const all = await hob('scale', limits, 3, (system) => scaled(system, to));
    return [{ cell: 'scale', what: `3 to ${to} ready`, ms: Math.round(all), 'bare processes ms': Math.round(fork), 'beyond ms': Math.round(all - fork) }];
  },
  async levels() {
    const rows = [];
    for (const isolation of ['L0', 'L1', 'L2', 'L3']) {
      const count = Number(values.each);
      const [took, memory] = await hob(`level-${isolation}`, { ...limits, sandbox: { isolation } }, 1, async (system) => {
        const took = await scaled(system, count + 1);
        return [took, await shims(system, count + 1)];
      });
      rows.push({ cell: 'levels', what: `${count} instances at ${isolation}`, ms: Math.round(took),
        'a second': Math.round((count * 1000) / took), 'shims MB each': memory });
    }
    return rows;
  },
  async zero() {
    const port = await freePort();
    const begun = performance.now();
    const child = spawn(service, [], { env: { PORT: String(port) }, stdio: 'ignore' });
    await answers(port);
    const own = performance.now() - begun;
    child.kill('SIGKILL');
    const terms = { scale: { min: 1, max: 2, idle: { after: '2s' } } };
    const took = await hob('zero', terms, 1, async (system) => {
      const times = [];
      for (let i = 0; i < 5; i += 1) {
        for (;;) {
          if ((await system.ready()) === 0 && (await system.shims()).length === 0) break;
          await sleep(50);
        }
        const asked = performance.now();
        await answers(system.port, '/', { within: 40_000 });
        times.push(performance.now() - asked);
      }
      return times.sort((a, b) => a - b)[2];
    });
    return [{ cell: 'zero', what: 'first request to none', ms: Math.round(took), 'its own start ms': Math.round(own), 'beyond ms': Math.round(took - own) }];
  },
};
for (const cell of values.cells.split(',')) {
  const rows = await cells[cell]();
  console.table(rows);
  if (values.json) for (const row of rows) await fs.appendFile(values.json, `${JSON.stringify(row)}\n`);
}
