// The router beside nginx, haproxy and caddy (B3): requests a second and a CPU second, latencies, memory; for 1 KB and
// 64 KB, plain, TLS and HTTP/2; access logs on everywhere. The proxy has core 0, load and backend have core 1.
// usage: node bench/ship/router.mjs HOB PEERS WORK [--seconds 3] [--rounds 3] [--systems …] [--doors plain,tls,h2] [--json FILE]

import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { Caddy, Haproxy, Hob, Nginx, usage } from './systems.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '3' }, rounds: { type: 'string', default: '3' }, json: { type: 'string' },
    systems: { type: 'string', default: 'hob,nginx,haproxy,caddy' }, doors: { type: 'string', default: 'plain,tls,h2' },
    connections: { type: 'string', default: '50' }, files: { type: 'string', default: '1k,64k' },
  },
});
const [binary, peers, work] = positionals;
if (!work) {
  console.error('usage: node bench/ship/router.mjs HOB PEERS WORK [options]');
  process.exit(2);
}
const run = promisify(execFile);
const root = path.join(peers, 'root');
const libraries = `${root}/usr/lib/x86_64-linux-gnu:${root}/usr/lib/aarch64-linux-gnu`;
const env = { ...process.env, LD_LIBRARY_PATH: libraries };
process.env.NGINX = `${root}/usr/sbin/nginx`;
process.env.CORE = '1';

/** Every process below one, itself included. */
async function family(pid) {
  const { stdout } = await run('ps', ['-eo', 'pid=,ppid=']);
  const pairs = stdout.trim().split('\n').map((line) => line.trim().split(/\s+/).map(Number));
  const all = [pid];
  for (let i = 0; i < all.length; i += 1) all.push(...pairs.filter(([, parent]) => parent === all[i]).map(([child]) => child));
  return all;
}

/** The proxy's own processes, and what else of Hob works for it; never the backend's. */
async function own(system) {
  if (system.name === 'hob') {
    const { router, core } = await system.processes();
    return { proxy: [router], rest: [core] };
  }
  return { proxy: await family(system.child.pid), rest: [] };
}

/** One run of the load: requests a second, milliseconds by quantile, failures. */
async function load(url, door) {
  const { seconds, connections } = values;
  if (door === 'plain') {
    const args = ['-c', '1', `${root}/usr/bin/wrk`, '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', url];
    const { stdout } = await run('taskset', args, { env });
    const ms = (label) => {
      const [, number, unit] = new RegExp(`${label}\\s+([\\d.]+)(us|ms|s)`).exec(stdout) ?? [];
      return number ? Number(number) * { us: 0.001, ms: 1, s: 1000 }[unit] : null;
    };
    const [, connect, read, write, timeout] = /connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout) ?? [];
    const failed = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0);
    const broken = [connect, read, write, timeout].reduce((sum, value) => sum + Number(value ?? 0), 0);
    const requests = Number(/(\d+) requests in/.exec(stdout)[1]);
    return { requests, p50: ms('50%'), p99: ms('99%'), failed: failed + broken };
  }
  const alpn = door === 'h2' ? 'h2' : 'http/1.1';
  const log = path.join(work, 'h2load.log');
  await fs.rm(log, { force: true });
  const args = ['-c', '1', `${root}/usr/bin/h2load`, `-c${connections}`, '-t1', '-m', door === 'h2' ? '10' : '1',
    `-D${seconds}`, `--npn-list=${alpn}`, `--log-file=${log}`, url];
  const { stdout } = await run('taskset', args, { env });
  const [, requests] = /(\d+) succeeded/.exec(stdout);
  const [, failed, broken] = /(\d+) failed, (\d+) errored/.exec(stdout);
  const lines = (await fs.readFile(log, 'utf8')).trim().split('\n');
  const times = Float64Array.from(lines, (line) => Number(line.split('\t')[2]) / 1000).sort();
  const at = (q) => times[Math.min(times.length - 1, Math.floor(q * times.length))];
  return { requests: Number(requests), p50: at(0.5), p99: at(0.99), failed: Number(failed) + Number(broken) };
}

/** A system with one instance behind it: nginx with two files, which is quick enough to be in nobody's way. */
async function begin(kind) {
  const kinds = { hob: Hob, nginx: Nginx, haproxy: Haproxy, caddy: Caddy };
  const folder = path.join(work, `router-${kind}`);
  await fs.rm(folder, { recursive: true, force: true });
  await fs.mkdir(folder, { recursive: true });
  const service = new URL('backend', import.meta.url).pathname;
  const terms = { env: { NGINX: process.env.NGINX, CORE: '1', LD_LIBRARY_PATH: libraries }, sandbox: { read: [path.resolve(root)] } };
  const system = new kinds[kind]({ binary, service, root, folder, instances: 1, terms, secure: true });
  await system.start();
  return Object.assign(system, { own: await own(system) });
}

/** One round of one system: what it answered, and what that cost. */
async function measure(system, door, file) {
  const port = door === 'plain' ? system.port : system.tlsPort;
  const url = `${door === 'plain' ? 'http' : 'https'}://127.0.0.1:${port}/${file}`;
  const { proxy, rest } = system.own;
  const [before, beforeRest] = [await usage(proxy), await usage(rest)];
  const got = await load(url, door);
  const [after, afterRest] = [await usage(proxy), await usage(rest)];
  const cpu = after.cpu - before.cpu;
  const all = cpu + afterRest.cpu - beforeRest.cpu;
  return { ...got, perSecond: got.requests / Number(values.seconds), perCpu: got.requests / cpu,
    perCpuOfAll: got.requests / all, memory: after.memory };
}

process.env.LD_LIBRARY_PATH = libraries;
await fs.mkdir(work, { recursive: true });
execFileSync('taskset', ['-cp', '0', String(process.pid)], { stdio: 'ignore' });
const systems = [];
const results = [];
try {
  for (const kind of values.systems.split(',')) systems.push(await begin(kind));
  for (const door of values.doors.split(',')) {
    for (const file of values.files.split(',')) {
      // In turns, so that whatever else the machine does falls upon all of them.
      const best = new Map();
      for (let round = 0; round < Number(values.rounds); round += 1) {
        for (const system of systems) {
          const row = await measure(system, door, file);
          if (!best.has(system) || row.perCpu > best.get(system).perCpu) best.set(system, row);
        }
      }
      for (const [system, row] of best) {
        process.stderr.write(`${system.name} ${door} ${file}: ${Math.round(row.perCpu)} a CPU second\n`);
        results.push({ cell: 'router', system: system.name, door, file, ...row });
      }
    }
  }
} finally {
  for (const system of systems) await system.stop();
}
const nginx = (row) => results.find((other) => other.system.startsWith('nginx') && other.door === row.door && other.file === row.file);
const round = (ms) => (ms == null ? null : Math.round(ms * 100) / 100);
console.table(results.map((row) => ({
  system: row.system, door: row.door, file: row.file, 'requests/s': Math.round(row.perSecond),
  'a CPU s': Math.round(row.perCpu), 'to nginx': nginx(row) ? (row.perCpu / nginx(row).perCpu).toFixed(2) : '–',
  'a CPU s, core too': Math.round(row.perCpuOfAll), p50: round(row.p50), p99: round(row.p99), failed: row.failed,
  'PSS MB': Math.round(row.memory / 1e6),
})));
if (values.json) for (const row of results) await fs.appendFile(values.json, `${JSON.stringify(row)}\n`);
