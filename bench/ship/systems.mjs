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

/** A key and a certificate of its own for `localhost`, in PEM, made once for each folder. */
async function certificate(folder) {
  const [key, crt] = [path.join(folder, 'bench.key'), path.join(folder, 'bench.crt')];
  await fs.mkdir(folder, { recursive: true });
  await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', crt]);
  const both = path.join(folder, 'bench.pem');
  await fs.writeFile(both, (await fs.readFile(crt, 'utf8')) + (await fs.readFile(key, 'utf8')));
  return { key, crt, both };
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

/** Every process: its number, its parent's, and its arguments. */
async function table() {
  const { stdout } = await run('ps', ['-eo', 'pid=,ppid=,args='], { maxBuffer: 16 << 20 });
  return stdout.split('\n').map((line) => line.trim().split(/\s+/));
}

/** Seconds of processor and bytes of memory (PSS) of some processes. */
export async function usage(pids) {
  let [cpu, memory] = [0, 0];
  for (const pid of pids) {
    const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
    if (!stat) continue;
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    cpu += (Number(fields[11]) + Number(fields[12])) / 100;
    const smaps = await fs.readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    memory += Number(/^Pss:\s+(\d+)/m.exec(smaps)?.[1] ?? 0) * 1024;
  }
  return { cpu, memory };
}

/** Hob with one service, deployed by its own command line. */
export class Hob {
  name = 'hob';
  constructor({ binary, service, folder, instances = 2, offset = 2000 + Math.floor(Math.random() * 20_000), terms = {}, secure = false }) {
    Object.assign(this, { binary, service, folder, instances, offset, terms, secure });
    this.port = 8080 + offset;
    if (secure) this.tlsPort = 8443 + offset;
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
    if (this.secure) {
      const made = await certificate(this.folder);
      await fs.mkdir(path.join(this.data, 'certificates'), { recursive: true });
      await fs.copyFile(made.crt, path.join(this.data, 'certificates', 'default.crt'));
      await fs.copyFile(made.key, path.join(this.data, 'certificates', 'default.key'));
    }
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

  /** How many instances take requests, asked of the API: a command for each look would cost more than what it looks at. */
  async ready() {
    this.token ??= (await fs.readFile(path.join(this.data, 'admin.token'), 'utf8')).trim();
    const url = `http://127.0.0.1:${7070 + this.offset}/v1/services/shop`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${this.token}` } });
    return (await answer.json()).ready;
  }

  async scale(count) {
    await this.hob('scale', 'shop', `web=${count}`);
  }

  /** Process ids of Hob's own processes by what they are: `core`, `router`. */
  async processes() {
    const rows = await table();
    const own = rows.filter(([, parent]) => Number(parent) === this.child.pid);
    return Object.fromEntries(own.map(([pid, , , verb]) => [verb, Number(pid)]));
  }

  /** Process ids of the shims, and of the first process that a shim with namespaces of its own has in them. */
  async shims() {
    return (await table()).filter(([, , , verb, folder]) => verb === 'shim' && folder?.startsWith(this.data)).map(([pid]) => Number(pid));
  }

  async stop() {
    this.child.kill('SIGINT');
    await Promise.race([new Promise((done) => this.child.once('exit', done)), sleep(20_000)]);
  }
}

/** A proxy whose backends are started and stopped here, by the script that one would write. */
class Proxy {
  /** `limited`: twenty requests a second of one client, forty at once, as the service's terms say for Hob. */
  constructor({ root, service, folder, instances = 2, drainMs = 5000, secure = false, limited = false, terms = {} }) {
    Object.assign(this, { root, service, folder, instances, drainMs, secure, limited, terms, release: 0, live: [], before: [] });
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
      const env = { ...process.env, ...this.terms.env, TMPDIR: this.folder, PORT: String(port), RELEASE: String(this.release) };
      backends.push({ port, child: spawn(this.service, [], { env, stdio: 'ignore' }) });
    }
    for (const { port } of backends) await answers(port);
    return backends;
  }

  async start() {
    await fs.mkdir(this.folder, { recursive: true });
    this.port = await freePort();
    if (this.secure) {
      this.tlsPort = await freePort();
      this.certificate = await certificate(this.folder);
    }
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
    const tls = this.secure ? `listen 127.0.0.1:${this.tlsPort} ssl http2 backlog=4096; ssl_certificate ${this.certificate.crt};
ssl_certificate_key ${this.certificate.key};` : '';
    const zone = this.limited ? 'limit_req_zone $binary_remote_addr zone=clients:10m rate=20r/s; limit_req_status 429;' : '';
    const limit = this.limited ? 'limit_req zone=clients burst=40 nodelay;' : '';
    await fs.writeFile(this.file, `worker_processes 1; pid ${this.folder}/nginx.pid; error_log ${this.folder}/error.log;
events { worker_connections 8192; }
http { access_log ${this.folder}/access.log; client_body_temp_path ${this.folder}/b; proxy_temp_path ${this.folder}/p;
fastcgi_temp_path ${this.folder}/f; uwsgi_temp_path ${this.folder}/u; scgi_temp_path ${this.folder}/s;
${zone} map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
upstream shop { ${servers} keepalive 64; }
server { listen 127.0.0.1:${this.port} backlog=4096; ${tls} keepalive_requests 1000000;
location / { ${limit} proxy_pass http://shop;
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
    const tls = this.secure ? `  bind 127.0.0.1:${this.tlsPort} ssl crt ${this.certificate.both} alpn h2,http/1.1\n` : '';
    const limit = this.limited ? `  stick-table type ip size 100k expire 10s store http_req_rate(2s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 40 }\n` : '';
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
  timeout http-request 10s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend in
  bind 127.0.0.1:${this.port}
${tls}${limit}  default_backend shop
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
    if (this.secure) {
      config.apps.http.servers.secure = {
        listen: [`127.0.0.1:${this.tlsPort}`], automatic_https: { disable: true }, logs: {}, tls_connection_policies: [{}],
        routes: [{ handle: [{ handler: 'reverse_proxy', upstreams: this.upstreams(ports) }] }],
      };
      config.apps.tls = { certificates: { load_files: [{ certificate: this.certificate.crt, key: this.certificate.key }] } };
    }
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
