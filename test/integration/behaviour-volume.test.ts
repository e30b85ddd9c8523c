import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { seededRandom } from '../../common/random.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import { startServer, type TestServer } from './engine/sidecar.ts';
import { namespaceYaml, strictYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import { askPage } from './mesh/pages.ts';

leakCheck();

const MIB = 1_048_576;
const DOWNLOAD_BYTES = 1_024 * MIB;
const UPLOAD_BYTES = 384 * MIB;
/** The garbage of some seconds of streaming, on a busy machine; far less than a body. */
const GROWTH_MIB_MAX = 128;
const BLOCK = Buffer.alloc(MIB, 'x');
const ANSWER = Buffer.alloc(200_000, 'y');

let mesh: TestMesh;
let web: TestPod;
let catalog: TestPod;
let sink: TestPod;
/** An app that takes a body in gulps, and says how long it was. */
let gulper: TestServer;

before(async () => {
  mesh = await startMesh({ settings: 'tracing: {samplingPercent: 0}\n' });
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  mesh.apply('strict.yaml', strictYaml('shop'));
  for (const name of ['catalog', 'sink']) {
    mesh.addService({ namespace: 'shop', name, port: 80, targetPort: 8080, selector: { app: name } });
  }
  gulper = await startServer((socket) => {
    let received = 0;
    let head = '';
    socket.on('data', (chunk) => {
      if (!head.includes('\r\n\r\n')) {
        head += chunk.toString('latin1');
        if (head.includes('\r\n\r\n')) received = head.length - head.indexOf('\r\n\r\n') - 4;
      } else {
        received += chunk.length;
      }
      socket.pause();
      setImmediate(() => socket.resume());
      if (received >= UPLOAD_BYTES) socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${received}`);
    });
  });
  sink = await mesh.addPod({
    namespace: 'shop',
    name: 'sink',
    env: { HEDDLE_CONTAINER_PORTS: `8080=${gulper.port}` },
  });
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  catalog = await mesh.addPod({
    namespace: 'shop',
    name: 'catalog',
    app: (request, response) => {
      if (request.url === '/large') {
        response.writeHead(200, { 'content-length': DOWNLOAD_BYTES });
        let sent = 0;
        const more = (): void => {
          while (sent < DOWNLOAD_BYTES) {
            sent += BLOCK.length;
            if (!response.write(BLOCK)) {
              response.once('drain', more);
              return;
            }
          }
          response.end();
        };
        more();
      } else if (request.url === '/slow') {
        setTimeout(() => response.end(ANSWER), 5);
      } else {
        response.end('ok');
      }
    },
  });
});

after(async () => {
  await mesh?.close();
  await gulper?.close();
});

function connect(): net.Socket {
  const socket = net.connect({ host: web.record.ip, port: 15_001, noDelay: true });
  socket.on('error', () => socket.destroy());
  return socket;
}

interface Stats {
  readonly connections: number;
  readonly active: number;
  readonly upstream: { readonly open: number; readonly idle: number; readonly pending: number };
}

async function statsOf(pod: TestPod): Promise<Stats> {
  const { body } = await askPage(`http://${pod.record.ip}:15000/stats`);
  return (JSON.parse(body) as { proxy: Stats }).proxy;
}

function residentBytes(pod: TestPod): number {
  const status = readFileSync(`/proc/${pod.sidecar.child.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
}

test('ten thousand requests on one connection use one connection between the sidecars', async () => {
  const socket = connect();
  const request = 'GET http://catalog/ HTTP/1.1\r\nHost: catalog\r\n\r\n';
  let answered = 0;
  let rest = '';
  await new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk) => {
      rest += chunk.toString('latin1');
      const end = rest.indexOf('\r\n\r\nok');
      if (end < 0) return;
      if (!rest.startsWith('HTTP/1.1 200 OK\r\n')) reject(new Error(rest));
      rest = rest.slice(end + 6);
      answered++;
      if (answered === 10_000) resolve();
      else socket.write(request);
    });
    socket.on('close', () => reject(new Error(`the connection ended after ${answered} answers`)));
    socket.write(request);
  });
  assert.equal(rest, '');
  socket.destroy();
  const { upstream } = await statsOf(web);
  assert.deepEqual([upstream.open, upstream.idle], [1, 1]);
});

/** How much more memory the sidecars took at most until `isOver`, in MiB. */
async function growth(pods: readonly TestPod[], isOver: () => boolean): Promise<number[]> {
  const before = pods.map(residentBytes);
  const most = [...before];
  await eventually(
    () => {
      for (const [index, pod] of pods.entries()) most[index] = Math.max(most[index] ?? 0, residentBytes(pod));
      return isOver();
    },
    { deadlineMs: 120_000, what: 'the whole body' },
  );
  return most.map((bytes, index) => Math.round((bytes - (before[index] ?? 0)) / MIB));
}

test('a gibibyte streams through two sidecars, and neither holds more than a little of it', async () => {
  const socket = connect();
  let received = 0;
  socket.on('data', (chunk) => {
    received += chunk.length;
  });
  socket.write('GET http://catalog/large HTTP/1.1\r\nHost: catalog\r\n\r\n');
  const grown = await growth([web, catalog], () => received >= DOWNLOAD_BYTES);
  socket.destroy();
  assert.ok(Math.max(...grown) < GROWTH_MIB_MAX, `the sidecars grew by ${grown.join(' and ')} MiB`);
});

test('a large body goes up to an app that takes its time, and waits with its sender', async () => {
  const socket = connect();
  let heard = '';
  socket.on('data', (chunk) => {
    heard += chunk.toString('latin1');
  });
  socket.write(`PUT http://sink/ HTTP/1.1\r\nHost: sink\r\nContent-Length: ${UPLOAD_BYTES}\r\n\r\n`);
  let sent = 0;
  const more = (): void => {
    while (sent < UPLOAD_BYTES) {
      sent += BLOCK.length;
      if (!socket.write(BLOCK)) {
        socket.once('drain', more);
        return;
      }
    }
  };
  more();
  const grown = await growth([web, sink], () => heard.includes(String(UPLOAD_BYTES)));
  socket.destroy();
  assert.match(heard, /^HTTP\/1\.1 200 /);
  assert.ok(Math.max(...grown) < GROWTH_MIB_MAX, `the sidecars grew by ${grown.join(' and ')} MiB`);
});

const ABORTED: readonly string[] = [
  'GET http://cata',
  'GET http://catalog/slow HTTP/1.1\r\nHost: catalog\r\n\r\n',
  'POST http://catalog/slow HTTP/1.1\r\nHost: catalog\r\nContent-Length: 100000\r\n\r\nabc',
  'POST http://catalog/slow HTTP/1.1\r\nHost: catalog\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel',
  'PUT http://catalog/slow HTTP/1.1\r\nHost: catalog\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n',
  'CONNECT catalog:80 HTTP/1.1\r\nHost: catalog:80\r\n\r\n',
  'CONNECT catalog:80 HTTP/1.1\r\nHost: catalog:80\r\n\r\nGET /slow HTTP/1.1\r\nHost: catalog\r\n\r\n',
  `${'GET http://catalog/slow HTTP/1.1\r\nHost: catalog\r\n\r\n'.repeat(5)}`,
];

/** Begins `count` requests, fifty at a time, and breaks each off at some moment, by FIN or by RST. */
async function abortMany(count: number, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const lane = async () => {
    for (let index = 0; index < count / 50; index++) {
      const socket = connect();
      const text = ABORTED[Math.floor(random.next() * ABORTED.length)] ?? '';
      socket.write(text);
      await new Promise((resolve) => setTimeout(resolve, random.next() * 12));
      if (random.next() < 0.5) socket.resetAndDestroy();
      else socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: 50 }, lane));
}

test('thousands of requests that are broken off leave nothing behind', async () => {
  await abortMany(4_000, 1);
  await eventually(
    async () => {
      const [at, behind] = [await statsOf(web), await statsOf(catalog)];
      return at.active + behind.active + at.connections + at.upstream.pending + behind.upstream.pending === 0;
    },
    { deadlineMs: 30_000, what: 'nothing is being served' },
  );
  const { upstream } = await statsOf(web);
  assert.equal(upstream.open, upstream.idle);
  const answer = await web.client.request('http://catalog/');
  assert.deepEqual([answer.status, answer.body], [200, 'ok']);
});
