// What a run showed, as tables for people: the marks first, then every cell.
// usage: node bench/ship/report.mjs machine SET HOB      a line that says what it was measured on
//        node bench/ship/report.mjs page RESULTS [PAGE]  the tables, into PAGE between its marks when it is named

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';

const BEGINS = '<!-- ship: written by bench/ship/run -->';
const ENDS = '<!-- ship: end -->';

function machine(set, binary) {
  const facts = { processors: os.cpus().length, model: os.cpus()[0]?.model.trim(), memory_gb: Math.floor(os.totalmem() / 2 ** 30),
    kernel: os.release(), load: Math.round(os.loadavg()[0] * 100) / 100 };
  const version = execFileSync(binary, ['--version']).toString().trim();
  console.log(JSON.stringify({ cell: 'machine', set, at: new Date().toISOString(), version, ...facts }));
}

/** A table of Markdown; `columns` are pairs of a head and what stands below it. Columns of figures are flush right. */
function table(rows, columns) {
  const text = (value) => (value === null || value === undefined ? '–' : String(value));
  const body = rows.map((row) => columns.map(([, of]) => text(of(row))));
  const isFigure = columns.map((_, at) => body.every((cells) => /^(–|[-\d.,]+( .*)?)$/.test(cells[at])));
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(columns.map(([head]) => head)), `|${isFigure.map((is) => (is ? '--:' : '---')).join('|')}|`, ...body.map(line), ''].join('\n');
}

const whole = (value) => (value == null ? null : Math.round(value));
const tenth = (value) => (value == null ? null : Math.round(value * 10) / 10);
const named = (row, name) => row.system.startsWith(name);

function marks(rows) {
  const of = (cell) => rows.filter((row) => row.cell === cell);
  const router = (name, door, file) => of('router').find((row) => named(row, name) && row.door === door && row.file === file);
  const deploys = of('deploys').filter((row) => named(row, 'hob'));
  const plain = (name) => router(name, 'plain', '1k');
  const both = (first, second, say) => (first && second ? say(first, second) : null);
  const sum = (list, of) => list.reduce((all, row) => all + of(row), 0);
  const zero = of('zero')[0];
  const scale = of('scale')[0];
  const floods = of('flood').filter((row) => row.system === 'hob');
  const found = [
    ['deploys under 500 requests/s: failed', '0', deploys.length ? `${sum(deploys, (row) => row.failed)} of ${sum(deploys, (row) => row.sent)} in ${sum(deploys, (row) => row.deploys)} deploys` : null],
    ['of one instance: failed', '0', deploys.find((row) => row.instances === 1)?.failed],
    ['with the core killed and the router upgraded in the middle: failed', '0', deploys.find((row) => row.disturb)?.failed],
    ['command to the first answer of the new release', '5 s', deploys[0] ? `${deploys[0].routed_ms.first_new} ms` : null],
    ['rollback to the release in standby, until the last old answer', '200 ms', deploys[0] ? `${deploys[0].rollback_ms.last_old_answer} ms` : null],
    ['1 KB, requests a CPU second, to nginx', '0.75 ×', both(plain('hob'), plain('nginx'), (hob, nginx) => `${(hob.perCpu / nginx.perCpu).toFixed(2)} ×`)],
    ['1 KB, p99, to nginx', 'no worse', both(plain('hob'), plain('nginx'), (hob, nginx) => `${tenth(hob.p99)} ms, ${tenth(nginx.p99)} ms`)],
    ['1 KB, to caddy', 'ahead', both(plain('hob'), plain('caddy'), (hob, caddy) => `${(hob.perCpu / caddy.perCpu).toFixed(1)} ×`)],
    ['the first request to none, beyond the start of its program', '15 ms', zero ? `${zero['beyond ms']} ms` : null],
    [scale ? `${scale.what}, beyond that many bare processes` : '3 to 350 ready', '5 s', scale ? `${scale['beyond ms']} ms` : null],
    ['orders that failed beside a flood and slow clients', '0', floods.length ? `${sum(floods, (row) => row.failed)} of ${sum(floods, (row) => row.orders)}` : null],
  ];
  return table(found, [['mark', (row) => row[0]], ['wanted', (row) => row[1]], ['found', (row) => row[2] ?? 'not measured']]);
}

function page(rows) {
  const of = (cell) => rows.filter((row) => row.cell === cell);
  const parts = [BEGINS];
  for (const row of of('machine')) {
    parts.push(`- Set ${row.set}, ${row.at.slice(0, 10)}, ${row.version}: ${row.processors} × "${row.model}", ${row.memory_gb} GB, ` +
      `kernel "${row.kernel}", load ${row.load} when it began.\n`);
  }
  parts.push('### Marks\n', marks(rows));
  const section = (title, list, columns) => list.length && parts.push(`### ${title}\n`, table(list, columns));
  const nginx = (row) => of('router').find((other) => named(other, 'nginx') && other.door === row.door && other.file === row.file);
  section('Deploys under load', of('deploys'), [
    ['system', (row) => row.system], ['instances', (row) => row.instances], ['disturbed by', (row) => row.disturb || null],
    ['deploys', (row) => row.deploys], ['requests', (row) => row.sent], ['failed', (row) => row.failed],
    ['a million', (row) => row.failed_per_million], ['longest stall ms', (row) => whole(row.stall_ms)],
    ['p99 added inside / outside ms', (row) => `${tenth(row.over_ms.inside.p99)} / ${tenth(row.over_ms.outside.p99)}`],
    ['first new ms', (row) => row.routed_ms.first_new], ['last old ms', (row) => row.routed_ms.last_old],
    ['deploy ms', (row) => row.deploy_ms.p50], ['rollback ms', (row) => row.rollback_ms.last_old_answer],
    ['websockets broken / closed', (row) => `${row.websockets.broken} / ${row.websockets.closedCleanly}`],
  ]);
  section('The router', of('router'), [
    ['door', (row) => row.door], ['size', (row) => row.file], ['system', (row) => row.system.split(' ')[0]],
    ['requests/s', (row) => whole(row.perSecond)], ['a CPU second', (row) => whole(row.perCpu)],
    ['to nginx', (row) => (nginx(row) ? (row.perCpu / nginx(row).perCpu).toFixed(2) : null)],
    ['core too', (row) => (row.system === 'hob' ? whole(row.perCpuOfAll) : null)],
    ['p50 / p99 ms', (row) => `${tenth(row.p50)} / ${tenth(row.p99)}`], ['failed', (row) => row.failed],
    ['PSS MB', (row) => tenth(row.memory / 1e6)],
  ]);
  section('From 3 to many', of('scale'), [
    ['what', (row) => row.what], ['ms', (row) => row.ms], ['bare processes ms', (row) => row['bare processes ms']], ['beyond ms', (row) => row['beyond ms']],
  ]);
  section('Levels of isolation', of('levels'), [
    ['what', (row) => row.what], ['ms', (row) => row.ms], ['a second', (row) => row['a second']], ['shims, MB each', (row) => row['shims MB each']],
  ]);
  section('From none', of('zero'), [
    ['what', (row) => row.what], ['ms', (row) => row.ms], ['its own start ms', (row) => row['its own start ms']], ['beyond ms', (row) => row['beyond ms']],
  ]);
  section('Orders beside floods', of('flood'), [
    ['system', (row) => row.system], ['beside', (row) => row.what], ['orders', (row) => row.orders], ['failed', (row) => row.failed],
    ['p50 / p99 added ms', (row) => `${tenth(row.p50)} / ${tenth(row.p99)}`], ['flood', (row) => row.flood], ['of it refused', (row) => row.refused],
  ]);
  const framing = of('framing');
  const told = (verdict) => verdict ?? null;
  section('Framing: the first answer, and how many more came', framing, [
    ['case', (row) => row.what], ['hob', (row) => told(row.hob)], ['nginx', (row) => told(row.nginx)], ['haproxy', (row) => told(row.haproxy)],
  ]);
  parts.push(ENDS);
  return parts.join('\n');
}

const [verb, first, second] = process.argv.slice(2);
if (verb === 'machine' && second) {
  machine(first, second);
} else if (verb === 'page' && first) {
  const rows = fs.readFileSync(first, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const text = page(rows);
  if (second) {
    const old = fs.readFileSync(second, 'utf8');
    const [from, to] = [old.indexOf(BEGINS), old.indexOf(ENDS)];
    if (from < 0 || to < from) throw new Error(`${second} has no part between ${BEGINS} and ${ENDS}`);
    fs.writeFileSync(second, old.slice(0, from) + text + old.slice(to + ENDS.length));
  }
  console.log(text);
} else {
  console.error('usage: node bench/ship/report.mjs machine SET HOB | page RESULTS [PAGE]');
  process.exit(2);
}
