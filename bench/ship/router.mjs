// The router beside nginx, haproxy and caddy (B3): requests a second and a CPU second, latencies, memory; for 1 KB and
// 64 KB, plain, TLS and HTTP/2; access logs on everywhere. The proxy has core 0, load and backend have core 1.
// usage: node bench/ship/router.mjs HOB PEERS WORK [--seconds 3] [--rounds 3] [--systems …] [--doors plain,tls,h2] [--json FILE]

import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { Caddy, Haproxy, Hob, Nginx } from './systems.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '3' }, rounds: { type: 'string', default: '3' }, json: { type: 'string' },
    systems: { type: 'string', default: 'hob,nginx,haproxy,caddy' }, doors: { type: 'string', default: 'plain,tls,h2' },
    connections: { type: 'string', default: '50' },
  },
});
const [binary, peers, work] = positionals;
if (!work) {
  console.error('usage: node bench/ship/router.mjs HOB PEERS WORK [options]');
  process.exit(2);
}
const run = promisify(execFile);
const root = path.join(peers, 'root');
const TICKS = Number(execFileSync('getconf', ['CLK_TCK']));
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

/** Seconds of processor and bytes of memory of some processes. */
async function usage(pids) {
  let [cpu, memory] = [0, 0];
  for (const pid of pids) {
    const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
    if (!stat) continue;
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    cpu += (Number(fields[11]) + Number(fields[12])) / TICKS;
    const smaps = await fs.readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    memory += Number(/^Pss:\s+(\d+)/m.exec(smaps)?.[1] ?? 0) * 1024;
  }
  return { cpu, memory };
}

/** The proxy's own processes: all of Hob's for Hob, told apart, and never the backend's. */
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
  const args = ['-c', '1', `${root}/usr/bin/h2load`, `-c${connections}`, '-t1', '-m', door === 'h2' ? '10' : '1',
    `-D${seconds}`, `--alpn-list=${alpn}`, url];
  const { stdout } = await run('taskset', args, { env });
  const [, requests] = /requests: (\d+) total/.exec(stdout);
  const [, failed] = /(\d+) failed/.exec(stdout);
  const [, , , mean] = /time for request:\s+(\S+)\s+(\S+)\s+(\S+)/.exec(stdout) ?? [];
  return { requests: Number(requests), failed: Number(failed), mean };
}

async function measure(kind, results) {
  const kinds = { hob: Hob, nginx: Nginx, haproxy: Haproxy, caddy: Caddy };
  const folder = path.join(work, `router-${kind}`);
  await fs.rm(folder, { recursive: true, force: true });
  await fs.mkdir(folder, { recursive: true });
  const service = new URL('backend', import.meta.url).pathname;
  const terms = { env: { NGINX: process.env.NGINX, CORE: '1', LD_LIBRARY_PATH: libraries } };
  process.env.LD_LIBRARY_PATH = libraries;
  const system = new kinds[kind]({ binary, service, root, folder, instances: 1, terms });
  execFileSync('taskset', ['-cp', '0', String(process.pid)], { stdio: 'ignore' });
  await system.start();
  try {
    const { proxy, rest } = await own(system);
    for (const door of values.doors.split(',')) {
      const port = door === 'plain' ? system.port : system.tlsPort;
      if (!port) continue;
      for (const file of ['1k', '64k']) {
        const url = `${door === 'plain' ? 'http' : 'https'}://127.0.0.1:${port}/${file}`;
        let best = null;
        for (let round = 0; round < Number(values.rounds); round += 1) {
          const [before, beforeRest] = [await usage(proxy), await usage(rest)];
          const got = await load(url, door);
          const [after, afterRest] = [await usage(proxy), await usage(rest)];
          const cpu = after.cpu - before.cpu;
          const all = cpu + afterRest.cpu - beforeRest.cpu;
          const row = { ...got, perSecond: got.requests / Number(values.seconds), perCpu: got.requests / cpu,
            perCpuOfAll: got.requests / all, memory: after.memory };
          if (!best || row.perCpu > best.perCpu) best = row;
        }
        process.stderr.write(`${system.name} ${door} ${file}: ${Math.round(best.perCpu)} a CPU second\n`);
        results.push({ cell: 'router', system: system.name, door, file, ...best });
      }
    }
  } finally {
    await system.stop();
  }
}

const results = [];
for (const kind of values.systems.split(',')) await measure(kind, results);
const nginx = (row) => results.find((other) => other.system.startsWith('nginx') && other.door === row.door && other.file === row.file);
console.table(results.map((row) => ({
  system: row.system, door: row.door, file: row.file, 'requests/s': Math.round(row.perSecond),
  'a CPU s': Math.round(row.perCpu), 'to nginx': nginx(row) ? (row.perCpu / nginx(row).perCpu).toFixed(2) : '–',
  'a CPU s, core too': Math.round(row.perCpuOfAll), p50: row.p50 ?? row.mean, p99: row.p99, failed: row.failed,
  'PSS MB': Math.round(row.memory / 1e6),
})));
if (values.json) for (const row of results) await fs.appendFile(values.json, `${JSON.stringify(row)}\n`);
