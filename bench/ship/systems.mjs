// What is measured: Hob, and nginx, haproxy and caddy each with the swap that one would script for it. All run the same
// service, have a fresh folder and a free port, and are stopped at the end.

import { execFile, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import fs from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** A port that nobody listens at. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** Waits until a GET is answered with 200; then gives the answer's release. */
export async function answers(port, target = '/health', { within = 20_000, headers = {} } = {}) {
  const deadline = Date.now() + within;
  for (;;) {
    const answer = await get(port, target, headers).catch(() => null);
    if (answer?.status === 200) return answer.release;
    if (Date.now() > deadline) throw new Error(`port ${port} did not answer ${target}`);
    await sleep(5);
  }
}

function get(port, target, headers) {
  return new Promise((done, failed) => {
    const request = http.get({ host: '127.0.0.1', port, path: target, headers, agent: false }, (answer) => {
      answer.resume();
      answer.on('end', () => done({ status: answer.statusCode, release: answer.headers['x-release'] }));
    });
    request.setTimeout(5000, () => request.destroy(new Error('timeout')));
    request.on('error', failed);
  });
}

/** Hob with one service, deployed by its own command line. */
export class Hob {
  name = 'hob';
  constructor({ binary, service, folder, instances = 2, offset = 2000 + Math.floor(Math.random() * 20_000), terms = {} }) {
    Object.assign(this, { binary, service, folder, instances, offset, terms });
    this.port = 8080 + offset;
  }

  async start() {
    const home = path.join(this.folder, 'platform', 'shop');
    await fs.mkdir(path.join(home, 'bin'), { recursive: true });
    await fs.copyFile(this.service, path.join(home, 'bin', 'service'));
    await fs.chmod(path.join(home, 'bin', 'service'), 0o755);
    const descriptor = {
      service: 'shop', kind: 'edge', package: { include: ['bin'] },
      processes: { web: { run: ['bin/service'], port: 'http', replicas: this.instances } },
      health: { readiness: { http: '/health', every: '1s' } }, routes: [{ path: '/' }], ...this.terms,
    };
    await fs.writeFile(path.join(home, 'service.yml'), JSON.stringify(descriptor));
    const platform = { platform: 'bench', environments: ['bench'], tenants: ['uk'], services: ['shop'] };
    await fs.writeFile(path.join(this.folder, 'platform', 'hob.yml'), JSON.stringify(platform));
    this.data = path.join(this.folder, 'data');
    const log = openSync(path.join(this.folder, 'hob.log'), 'w');
    this.child = spawn(this.binary, ['up', '.', '--data', this.data, '--port-offset', String(this.offset)], {
      cwd: path.join(this.folder, 'platform'), stdio: ['ignore', log, log], detached: true,
    });
    await answers(this.port, '/health', { within: 60_000 });
  }

  hob(...args) {
    return run(this.binary, [...args, '--data', this.data], { cwd: path.join(this.folder, 'platform') });
  }

  async deploy() {
    await this.hob('deploy', 'shop');
  }

  async rollback() {
    await this.hob('rollback', 'shop');
  }

  async scale(count) {
    await this.hob('scale', 'shop', `web=${count}`);
  }

  /** Process ids of Hob's own processes by what they are: `core`, `router`. */
  async processes() {
    const { stdout } = await run('ps', ['-eo', 'pid=,ppid=,args=']);
    const rows = stdout.split('\n').map((line) => line.trim().split(/\s+/));
    const own = rows.filter(([, parent]) => Number(parent) === this.child.pid);
    return Object.fromEntries(own.map(([pid, , , verb]) => [verb, Number(pid)]));
  }

  async stop() {
    this.child.kill('SIGINT');
    await Promise.race([new Promise((done) => this.child.once('exit', done)), sleep(20_000)]);
  }
}

/** A proxy whose backends are started and stopped here, by the script that one would write. */
class Proxy {
  constructor({ root, service, folder, instances = 2, drainMs = 5000 }) {
    Object.assign(this, { root, service, folder, instances, drainMs, release: 0, live: [], before: [] });
  }

  env() {
    const libraries = `${this.root}/usr/lib/x86_64-linux-gnu:${this.root}/usr/lib/aarch64-linux-gnu`;
    return { ...process.env, LD_LIBRARY_PATH: libraries };
  }

  async backends() {
    this.release += 1;
    const backends = [];
    for (let i = 0; i < this.instances; i += 1) {
      const port = await freePort();
      const env = { ...process.env, PORT: String(port), RELEASE: String(this.release) };
      backends.push({ port, child: spawn(this.service, [], { env, stdio: 'ignore' }) });
    }
    for (const { port } of backends) await answers(port);
    return backends;
  }

  async start() {
    await fs.mkdir(this.folder, { recursive: true });
    this.port = await freePort();
    this.live = await this.backends();
    await this.launch(this.live.map(({ port }) => port));
    await answers(this.port);
  }

  /** New backends, the proxy told, the old ones stopped when they have had time to end their requests. */
  async deploy() {
    const next = await this.backends();
    this.retire(this.before);
    this.before = this.live;
    this.live = next;
    await this.point(next.map(({ port }) => port), this.before.map(({ port }) => port));
    await this.drained(this.before);
    // What is kept for a rollback stays up; without one it would be stopped here.
  }

  async rollback() {
    [this.live, this.before] = [this.before, this.live];
    await this.point(this.live.map(({ port }) => port), this.before.map(({ port }) => port));
  }

  async drained() {
    await sleep(this.drainMs);
  }

  retire(backends) {
    for (const { child } of backends) child.kill('SIGTERM');
  }

  async stop() {
    this.child?.kill('SIGTERM');
    await sleep(300);
    this.child?.kill('SIGKILL');
    this.retire([...this.live, ...this.before]);
  }
}

/** nginx: a new list of upstreams and a reload. */
export class Nginx extends Proxy {
  name = 'nginx reload';
  async launch(ports) {
    this.program = `${this.root}/usr/sbin/nginx`;
    await this.write(ports);
    this.child = spawn(this.program, ['-c', this.file, '-p', this.folder, '-g', 'daemon off;'], { env: this.env(), stdio: 'ignore' });
  }

  async write(ports) {
    this.file = path.join(this.folder, 'nginx.conf');
    const servers = ports.map((port) => `server 127.0.0.1:${port};`).join(' ');
    await fs.writeFile(this.file, `worker_processes 1; pid ${this.folder}/nginx.pid; error_log ${this.folder}/error.log;
events { worker_connections 8192; }
http { access_log ${this.folder}/access.log; client_body_temp_path ${this.folder}/b; proxy_temp_path ${this.folder}/p;
fastcgi_temp_path ${this.folder}/f; uwsgi_temp_path ${this.folder}/u; scgi_temp_path ${this.folder}/s;
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
upstream shop { ${servers} keepalive 64; }
server { listen 127.0.0.1:${this.port} backlog=4096; keepalive_requests 1000000; location / { proxy_pass http://shop;
proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; } } }`);
  }

  async point(ports) {
    await this.write(ports);
    await run(this.program, ['-c', this.file, '-p', this.folder, '-s', 'reload'], { env: this.env() });
  }
}

/** haproxy: servers set by its runtime socket, the old ones drained until they have no session. */
export class Haproxy extends Proxy {
  name = 'haproxy drain';
  slot = 0;
  async launch(ports) {
    const file = path.join(this.folder, 'haproxy.cfg');
    const server = (set, i, port, state) => `  server ${set}${i} 127.0.0.1:${port} check inter 1s ${state}`;
    const both = [...ports.map((port, i) => server('a', i, port, '')), ...ports.map((_, i) => server('b', i, 9, 'disabled'))];
    await fs.writeFile(file, `global
  stats socket ${this.folder}/admin.sock mode 600 level admin
  maxconn 8192
  nbthread 1
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend in
  bind 127.0.0.1:${this.port}
  default_backend shop
backend shop
  balance leastconn
${both.join('\n')}
`);
    this.ports = ports;
    const log = openSync(path.join(this.folder, 'access.log'), 'w');
    this.child = spawn(`${this.root}/usr/sbin/haproxy`, ['-f', file, '-db'], { env: this.env(), stdio: ['ignore', log, log] });
  }

  command(line) {
    return new Promise((done, failed) => {
      const socket = net.connect(path.join(this.folder, 'admin.sock'));
      let text = '';
      socket.on('data', (data) => { text += data; });
      socket.on('end', () => done(text));
      socket.on('error', failed);
      socket.write(`${line}\n`);
    });
  }

  async point(ports) {
    const [next, old] = this.slot === 0 ? ['b', 'a'] : ['a', 'b'];
    this.slot = 1 - this.slot;
    for (const [i, port] of ports.entries()) {
      await this.command(`set server shop/${next}${i} addr 127.0.0.1 port ${port}`);
      await this.command(`set server shop/${next}${i} state ready`);
      await this.command(`set server shop/${next}${i} health up`);
    }
    for (const [i] of ports.entries()) await this.command(`set server shop/${old}${i} state drain`);
    this.draining = old;
  }

  async drained() {
    const deadline = Date.now() + this.drainMs;
    while (Date.now() < deadline) {
      const rows = (await this.command('show stat')).split('\n').map((row) => row.split(','));
      if (rows.filter((row) => row[0] === 'shop' && row[1].startsWith(this.draining)).every((row) => row[4] === '0')) return;
      await sleep(50);
    }
  }
}

/** caddy: upstreams replaced through its admin API. */
export class Caddy extends Proxy {
  name = 'caddy api';
  upstreams(ports) {
    return ports.map((port) => ({ dial: `127.0.0.1:${port}` }));
  }

  async launch(ports) {
    this.admin = await freePort();
    const config = {
      admin: { listen: `127.0.0.1:${this.admin}` },
      logging: { logs: { default: { writer: { output: 'file', filename: `${this.folder}/access.log` } } } },
      apps: { http: { servers: { shop: {
        listen: [`127.0.0.1:${this.port}`], automatic_https: { disable: true }, logs: {},
        routes: [{ handle: [{ '@id': 'proxy', handler: 'reverse_proxy', upstreams: this.upstreams(ports) }] }],
      } } } },
    };
    const file = path.join(this.folder, 'caddy.json');
    await fs.writeFile(file, JSON.stringify(config));
    const env = { ...this.env(), HOME: this.folder, GOMAXPROCS: '1' };
    this.child = spawn(`${this.root}/usr/bin/caddy`, ['run', '--config', file], { env, stdio: 'ignore' });
  }

  async point(ports) {
    const answer = await fetch(`http://127.0.0.1:${this.admin}/id/proxy/upstreams`, {
      method: 'PATCH', headers: { 'content-type': 'application/json' }, body: JSON.stringify(this.upstreams(ports)),
    });
    if (!answer.ok) throw new Error(`caddy: ${answer.status} ${await answer.text()}`);
  }
}
