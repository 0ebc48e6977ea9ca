// Fails the build when the first load grows beyond its budget: the entry, what it imports statically, and its styles.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const KIB = 1024;
const BUDGET = { js: 80 * KIB, css: 20 * KIB };
const dist = new URL('../dist/', import.meta.url);
const read = (path) => readFileSync(new URL(path.replace(/^\//, ''), dist));

const html = read('index.html').toString();
const waiting = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((match) => match[1]);
const seen = new Set();
const size = { js: 0, css: 0 };
while (waiting.length > 0) {
  const path = waiting.pop();
  if (seen.has(path)) continue;
  seen.add(path);
  const body = read(path);
  const kind = path.endsWith('.css') ? 'css' : 'js';
  size[kind] += gzipSync(body).length;
  if (kind === 'js') {
    for (const match of body.toString().matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)) waiting.push(`/assets/${match[1]}`);
  }
}

let over = false;
for (const kind of ['js', 'css']) {
  const line = `first load ${kind}: ${(size[kind] / KIB).toFixed(1)} KiB gzip of ${BUDGET[kind] / KIB}`;
  console.log(line);
  over ||= size[kind] > BUDGET[kind];
}
if (over) {
  console.error('the first load is over its budget: load more of it lazily');
  process.exit(1);
}
