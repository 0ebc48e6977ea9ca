// Requests that two readers could frame differently: the verdict of the router, and those of nginx and haproxy beside it.
// Each case is sent raw, with a hidden request behind it; a row tells the first answer's status, and how many answers came.
// usage: node bench/ship/framing.mjs HOB SERVICE PEERS WORK [--systems hob,nginx,haproxy] [--json FILE]

import fs from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Haproxy, Hob, Nginx } from './systems.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { systems: { type: 'string', default: 'hob,nginx,haproxy' }, json: { type: 'string' } },
});
const [binary, service, peers, work] = positionals;
if (!work) {
  console.error('usage: node bench/ship/framing.mjs HOB SERVICE PEERS WORK [options]');
  process.exit(2);
}
const get = (rest, line = 'GET / HTTP/1.1') => `${line}\r\n${rest}\r\n\r\n`;
const post = (rest, body = '') => `POST / HTTP/1.1\r\nHost: a\r\n${rest}\r\n\r\n${body}`;
const chunked = (body, coding = 'chunked') => post(`Transfer-Encoding: ${coding}`, body);
const whole = '5\r\nhello\r\n0\r\n\r\n';
const cases = {
  'plain': get('Host: a'),
  'length': post('Content-Length: 5', 'hello'),
  'chunks': chunked(whole),
  'length, then chunks': post('Content-Length: 4\r\nTransfer-Encoding: chunked', whole),
  'chunks, then length': post('Transfer-Encoding: chunked\r\nContent-Length: 4', whole),
  'two different lengths': post('Content-Length: 5\r\nContent-Length: 6', 'hello'),
  'the same length twice': post('Content-Length: 5\r\nContent-Length: 5', 'hello'),
  'a list of lengths': post('Content-Length: 5, 5', 'hello'),
  'a length with a sign': post('Content-Length: +5', 'hello'),
  'a negative length': post('Content-Length: -5', 'hello'),
  'a hexadecimal length': post('Content-Length: 0x5', 'hello'),
  'an empty length': post('Content-Length:', 'hello'),
  'an endless length': post('Content-Length: 99999999999999999999'),
  'an unknown coding': chunked(whole, 'xchunked'),
  'a coding before chunked': chunked(whole, 'gzip, chunked'),
  'chunked not last': chunked(whole, 'chunked, identity'),
  'chunked twice': post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', whole),
  'a quoted coding': chunked(whole, '"chunked"'),
  'a coding after a vertical tab': chunked(whole, '\x0bchunked'),
  'a coding in HTTP/1.0': chunked(whole).replace('HTTP/1.1', 'HTTP/1.0'),
  'a blank before the colon': post('Transfer-Encoding : chunked', whole),
  'a blank before the name': get(' Host: a'),
  'a folded header': get('Host: a\r\nX-A: b\r\n c'),
  'a folded coding': post('Transfer-Encoding:\r\n chunked', whole),
  'bare line feeds': 'GET / HTTP/1.1\nHost: a\n\n',
  'one bare line feed': get('Host: a\nX-A: b'),
  'a bare CR in a value': get('Host: a\r\nX-A: b\rX-B: c'),
  'a NUL in a value': get('Host: a\r\nX-A: b\0c'),
  'a header without a name': get('Host: a\r\n: b'),
  'a header without a colon': get('Host: a\r\nX-A'),
  'no host': get('X-A: b'),
  'two hosts': get('Host: a\r\nHost: b'),
  'the same host twice': get('Host: a\r\nHost: a'),
  'a host that is none': get('Host: a/b'),
  'another host in the target': get('Host: a', 'GET http://b/ HTTP/1.1'),
  'a blank in the target': get('Host: a', 'GET /a b HTTP/1.1'),
  'an unknown version': get('Host: a', 'GET / HTTP/1.9'),
  'a chunk size with a sign': chunked('+5\r\nhello\r\n0\r\n\r\n'),
  'a chunk size with 0x': chunked('0x5\r\nhello\r\n0\r\n\r\n'),
  'a chunk size and a blank': chunked('5 \r\nhello\r\n0\r\n\r\n'),
  'a chunk size that overflows': chunked('10000000000000005\r\nhello\r\n0\r\n\r\n'),
  'a bare line feed after a chunk size': chunked('5\nhello\r\n0\r\n\r\n'),
  'a bare line feed in an extension': chunked('5;a\nb\r\nhello\r\n0\r\n\r\n'),
  'a chunk that is too long': chunked('5\r\nhelloX\r\n0\r\n\r\n'),
  'a length among the trailers': chunked('5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n'),
};
const hidden = 'GET /hidden HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** The status of the first answer and the number of answers until the end, or until nothing comes for a while. */
function verdict(port, bytes) {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    const end = () => {
      socket.destroy();
      const all = [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => status);
      done(all.length ? `${all[0]}${all.length > 1 ? ` +${all.length - 1}` : ''}` : 'closed');
    };
    socket.setTimeout(1500, end);
    socket.on('connect', () => socket.write(Buffer.from(bytes + hidden, 'latin1')));
    socket.on('data', (data) => { text += data.toString('latin1'); });
    socket.on('close', end);
    socket.on('error', () => {});
  });
}

const kinds = { hob: Hob, nginx: Nginx, haproxy: Haproxy };
const rows = Object.fromEntries(Object.keys(cases).map((what) => [what, {}]));
for (const kind of values.systems.split(',')) {
  const folder = path.join(work, `framing-${kind}`);
  await fs.rm(folder, { recursive: true, force: true });
  await fs.mkdir(folder, { recursive: true });
  const system = new kinds[kind]({ binary, service, root: path.join(peers, 'root'), folder, instances: 1 });
  await system.start();
  try {
    for (const [what, bytes] of Object.entries(cases)) rows[what][kind] = await verdict(system.port, bytes);
  } finally {
    await system.stop();
  }
}
console.table(rows);
if (values.json) {
  for (const [what, verdicts] of Object.entries(rows)) {
    await fs.appendFile(values.json, `${JSON.stringify({ cell: 'framing', what, ...verdicts })}\n`);
  }
}
