// A load at a constant rate, whatever the answers do: requests are sent when they are due, not when others ended, so that
// a stall is seen by all requests that were due in it. Node alone, no packages.

import crypto from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import { performance } from 'node:perf_hooks';

/** Milliseconds after which a request counts as failed. */
const TIMEOUT_MS = 30_000;

/** Sends `rate` requests a second to `origin`, some of them slow, from `addresses` in turn, beside so many websockets. */
export class Load {
  constructor(origin, { rate = 500, slowShare = 0.05, fastMs = 50, slowMs = 2000, websockets = 20, headers = {}, addresses = [] } = {}) {
    Object.assign(this, { origin: new URL(origin), rate, slowShare, fastMs, slowMs, headers, addresses });
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1000 });
    this.samples = [];
    this.sockets = { open: 0, wanted: websockets, closedCleanly: 0, broken: 0, refused: 0 };
    this.sent = 0;
    this.pending = 0;
    this.running = false;
  }

  start() {
    this.running = true;
    this.begun = performance.now();
    for (let i = 0; i < this.sockets.wanted; i += 1) this.websocket();
    this.timer = setInterval(() => this.due(), 2);
  }

  due() {
    const count = Math.floor(((performance.now() - this.begun) / 1000) * this.rate) - this.sent;
    for (let i = 0; i < count; i += 1) this.request();
  }

  request() {
    const number = this.sent;
    this.sent += 1;
    this.pending += 1;
    const isSlow = this.slowShare > 0 && number % Math.round(1 / this.slowShare) === 0;
    const due = this.begun + (number * 1000) / this.rate;
    const path = `/?ms=${isSlow ? this.slowMs : this.fastMs}&bytes=256`;
    let done = false;
    const end = (failure, release) => {
      if (done) return;
      done = true;
      this.pending -= 1;
      this.samples.push({ due: due - this.begun, ms: performance.now() - due, isSlow, failure, release });
    };
    const localAddress = this.addresses[number % (this.addresses.length || 1)];
    const options = { host: this.origin.hostname, port: this.origin.port, path, agent: this.agent, headers: this.headers, localAddress };
    const request = http.get(options, (answer) => {
      answer.on('data', () => {});
      answer.on('end', () => end(answer.statusCode === 200 ? null : `status ${answer.statusCode}`, answer.headers['x-release']));
      answer.on('error', (error) => end(`answer broke off: ${error.code}`));
      answer.on('aborted', () => end('answer broke off'));
    });
    request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error('timeout')));
    request.on('error', (error) => {
      const told = error.code ?? error.message;
      end(request.reusedSocket && told === 'ECONNRESET' ? 'kept connection was reset' : told);
    });
  }

  /** Keeps one websocket open, with a ping-pong of its own each half second; opened again when it ends. */
  websocket() {
    if (!this.running) return;
    const socket = net.connect(Number(this.origin.port), this.origin.hostname);
    const key = crypto.randomBytes(16).toString('base64');
    const extra = Object.entries(this.headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    let isOpen = false;
    let isClean = false;
    let timer;
    socket.on('connect', () => {
      socket.write(
        `GET /socket HTTP/1.1\r\nHost: ${this.headers.host ?? this.origin.host}\r\n${extra.replace(/host: .*\r\n/i, '')}` +
          `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      );
    });
    socket.on('data', (data) => {
      if (!isOpen) {
        if (!data.toString('latin1').startsWith('HTTP/1.1 101')) {
          this.sockets.refused += 1;
          socket.destroy();
          return;
        }
        isOpen = true;
        this.sockets.open += 1;
        timer = setInterval(() => socket.write(frame('ping')), 500);
      } else if ((data[0] & 0x0f) === 8) {
        isClean = true;
        socket.end();
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearInterval(timer);
      if (isOpen) {
        this.sockets.open -= 1;
        if (this.running) this.sockets[isClean ? 'closedCleanly' : 'broken'] += 1;
      }
      if (this.running) setTimeout(() => this.websocket(), isOpen ? 10 : 100);
    });
    (this.ends ??= new Set()).add(socket);
  }

  /** Milliseconds since the load began. */
  now() {
    return performance.now() - this.begun;
  }

  async stop() {
    clearInterval(this.timer);
    const deadline = performance.now() + TIMEOUT_MS;
    while (this.pending > 0 && performance.now() < deadline) await new Promise((done) => setTimeout(done, 20));
    this.running = false;
    for (const socket of this.ends ?? []) socket.destroy();
    this.agent.destroy();
  }

  /** From the command until the new release's first answer, and until the old one's last that was asked for: the medians of
   *  the deploys, and the worst. Requests that take long by themselves are left out. */
  switches(windows) {
    const [firsts, lasts] = [[], []];
    for (const [from, to] of windows) {
      const own = this.samples.filter((sample) => !sample.failure && !sample.isSlow && sample.due >= from && sample.due <= to);
      const newest = String(Math.max(...own.map((sample) => Number(sample.release))));
      const [fresh, old] = [own.filter(({ release }) => release === newest), own.filter(({ release }) => release !== newest)];
      firsts.push(Math.min(...fresh.map((sample) => sample.due + sample.ms)) - from);
      lasts.push(Math.max(0, ...old.map((sample) => sample.due - from)));
    }
    const [first, last] = [firsts, lasts].map((times) => times.sort((a, b) => a - b));
    const middle = (times) => Math.round(times[times.length >> 1]);
    return { first_new: middle(first), last_old: middle(last), last_old_max: Math.round(last.at(-1)) };
  }

  /** What came of it; `windows` are the times, as pairs of milliseconds, in which something was going on. */
  report(windows = []) {
    const inside = (sample) => windows.some(([from, to]) => sample.due >= from && sample.due <= to);
    const fast = this.samples.filter((sample) => !sample.isSlow && !sample.failure);
    const failures = {};
    for (const { failure } of this.samples) if (failure) failures[failure] = (failures[failure] ?? 0) + 1;
    const failed = this.samples.filter((sample) => sample.failure).length + this.pending;
    const ends = this.samples.filter((sample) => !sample.failure).map((sample) => sample.due + sample.ms).sort((a, b) => a - b);
    let stall = 0;
    for (let i = 1; i < ends.length; i += 1) stall = Math.max(stall, ends[i] - ends[i - 1]);
    return {
      sent: this.sent,
      failed,
      failures,
      failed_per_million: Math.round((failed * 1e6) / Math.max(1, this.sent)),
      stall_ms: round(stall),
      over_ms: {
        inside: quantiles(fast.filter(inside).map((sample) => sample.ms - this.fastMs)),
        outside: quantiles(fast.filter((sample) => !inside(sample)).map((sample) => sample.ms - this.fastMs)),
      },
      websockets: { ...this.sockets },
    };
  }
}

function frame(text) {
  const payload = Buffer.from(text);
  const mask = crypto.randomBytes(4);
  const masked = payload.map((byte, index) => byte ^ mask[index % 4]);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, masked]);
}

function quantiles(values) {
  const sorted = values.sort((a, b) => a - b);
  const at = (q) => (sorted.length ? round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]) : null);
  return { requests: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

const round = (value) => Math.round(value * 10) / 10;
