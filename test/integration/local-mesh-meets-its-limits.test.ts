import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, utimesSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Children } from '../../cli/local/children.ts';
import { claimState } from '../../cli/local/claim.ts';
import { choosePort, freePort, isFree, portTriesMax } from '../../cli/local/free-port.ts';
import { endLeftovers } from '../../cli/local/leftovers.ts';
import { connectionsMax, LoadBalancers } from '../../cli/local/load-balancer.ts';
import { processStartTime } from '../../cli/local/process-identity.ts';
import { makeStateDirectories, type StatePaths, statePaths } from '../../cli/local/state-dir.ts';
import { LoopbackNetwork } from '../../cli/network/loopback.ts';
import { systemClock } from '../../common/clock.ts';
import { tcpDialer } from '../../common/net.ts';
import { seededRandom, systemRandom } from '../../common/random.ts';
import type { KubeObject } from '../../model/objects.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

let root: string;
let paths: StatePaths;
const closers: (() => unknown)[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-limits-'));
  paths = statePaths({}, 'default', join(root, 'state'));
  makeStateDirectories(paths);
});
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
  rmSync(root, { recursive: true, force: true });
});

async function listen(
  port: number,
  onSocket: (socket: net.Socket) => void = () => undefined,
): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  server.listen({ host: '127.0.0.1', port });
  await once(server, 'listening');
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as net.AddressInfo).port;
}

test('a free port is one that nobody has, below those that the kernel hands out', async () => {
  const port = await freePort(systemRandom);
  assert.ok(port >= 20_000 && port < 30_000);
  assert.equal(await isFree(port), true);
  await listen(port);
  assert.equal(await isFree(port), false);
  assert.notEqual(await freePort(seededRandom(1), new Set([port])), port);
});

test('where every port that is tried is held, that is said', async () => {
  let tried = 0;
  const all = {
    has: () => {
      tried++;
      return true;
    },
  };
  await assert.rejects(freePort(systemRandom, all), /200 ports of 127\.0\.0\.1 tried, and none is free/);
  assert.equal(tried, portTriesMax);
});

test('a port that is asked for and taken gives the next one', async () => {
  const taken = await listen(await freePort(systemRandom));
  const chosen = await choosePort(taken, systemRandom);
  assert.ok(chosen > taken && chosen < taken + portTriesMax);
  const free = await freePort(systemRandom);
  assert.equal(await choosePort(free, systemRandom), free);
});

/** A balancer for one port with these backends, once it has found its place. */
async function balanced(
  port: number,
  backends: readonly number[],
): Promise<{ balancers: LoadBalancers; published: number }> {
  const balancers = new LoadBalancers(tcpDialer, () => undefined);
  closers.push(() => balancers.close());
  const wanted = { port, backends: backends.map((backend) => ({ host: '127.0.0.1', port: backend })) };
  balancers.update(new Map([['shop/web:80', wanted]]));
  await eventually(() => balancers.settled() && balancers.published().length === 1, {
    ...{ deadlineMs: 5_000, what: 'the port is published' },
  });
  return { balancers, published: balancers.published()[0]?.publishedPort ?? 0 };
}

/** What a connection is answered, to its end; a reset is an end as well. */
function ask(port: number): Promise<string> {
  const socket = net.connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  return new Promise((resolve) => socket.on('close', () => resolve(text)));
}

test('a balancer takes its backends in turn, also when they change', async () => {
  const answer = (text: string) => listen(0, (socket) => void socket.end(text));
  const [a, b, c] = [await answer('a'), await answer('b'), await answer('c')];
  const { balancers, published } = await balanced(await freePort(systemRandom), [a, b]);
  const answers = [await ask(published), await ask(published), await ask(published), await ask(published)];
  assert.deepEqual(answers.toSorted(), ['a', 'a', 'b', 'b']);
  const port = balancers.published()[0]?.port ?? 0;
  balancers.update(new Map([['shop/web:80', { port, backends: [{ host: '127.0.0.1', port: c }] }]]));
  assert.equal(await ask(published), 'c');
  balancers.update(new Map([['shop/web:80', { port, backends: [] }]]));
  assert.equal(await ask(published), '', 'nobody is there: the connection is reset');
});

test('a published port that is taken moves, and says why', async () => {
  const taken = await listen(await freePort(systemRandom));
  const { balancers, published } = await balanced(taken, []);
  assert.ok(published > taken);
  assert.equal(balancers.published()[0]?.moved, 'taken');
});

test('a balancer that holds its limit of connections takes no more until one ends', async () => {
  const backend = await listen(0, (socket) => void socket.write('hello'));
  const { published } = await balanced(await freePort(systemRandom), [backend]);
  const sockets: net.Socket[] = [];
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
  });
  const open = () => {
    const socket = net.connect({ host: '127.0.0.1', port: published });
    sockets.push(socket);
    socket.on('error', () => undefined);
    return new Promise<'served' | 'refused'>((resolve) => {
      socket.once('data', () => resolve('served'));
      socket.once('close', () => resolve('refused'));
    });
  };
  for (let count = 0; count < connectionsMax; count += 64)
    assert.ok((await Promise.all(Array.from({ length: 64 }, open))).every((one) => one === 'served'));
  assert.equal(await open(), 'refused');
  sockets[0]?.destroy();
  await eventually(async () => (await open()) === 'served', { deadlineMs: 5_000, what: 'a place is free' });
});

const pod = (name: string, command: readonly string[], port = 8080): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'lab', uid: name },
  spec: { containers: [{ name: 'app', command, ports: [{ name: 'http', containerPort: port }] }] },
});

test('pods get addresses of their own, and ports of their own behind them', async () => {
  const network = new LoopbackNetwork(systemRandom, tcpDialer);
  const node = 200;
  const add = (one: KubeObject, injected = true) => {
    closers.push(() => network.remove(one.metadata.uid ?? ''));
    return network.add({ pod: one, node, injected });
  };
  const [a, b] = [await add(pod('a', ['app'])), await add(pod('b', ['app']))];
  assert.notEqual(a.ips[0], b.ips[0]);
  const env = a.env.get('app');
  assert.equal(env?.HOST, '127.0.0.1');
  assert.equal(env?.http_proxy, `http://${a.ips[0]}:15001`);
  assert.equal(env?.PORT_HTTP, env?.PORT);
  assert.notEqual(env?.PORT, b.env.get('app')?.PORT);
  assert.equal(a.env.get('heddle-proxy')?.HEDDLE_CONTAINER_PORTS, `8080=${env?.PORT}`);
  const plain = (await add(pod('c', ['app']), false)).env.get('app');
  assert.equal(plain?.PORT, '8080', 'without a sidecar the app stands at the address itself');
  assert.equal(plain?.http_proxy, undefined);
  assert.equal(await network.check('a'), undefined);
  assert.match((await network.check('nobody')) ?? '', /no address/);
});

test('a port that the manifest fixes is refused to the second, and to the first where others have it', async () => {
  const network = new LoopbackNetwork(systemRandom, tcpDialer);
  const port = await freePort(systemRandom);
  const fixed = (name: string) =>
    network.add({ pod: pod(name, ['app', `--port=${port}`], port), node: 201, injected: true });
  closers.push(() => network.remove('first'));
  assert.equal((await fixed('first')).env.get('app')?.PORT, String(port));
  await assert.rejects(fixed('second'), /lab\/second fixes its port at \d+, which lab\/first has/);
  await network.remove('first');
  await listen(port);
  await assert.rejects(fixed('third'), /which another program on this machine listens on/);
});

test('an address where a sidecar of nobody still stands is passed over', async () => {
  const server = net.createServer();
  server.listen({ host: '127.244.202.1', port: 15001 });
  await once(server, 'listening');
  closers.push(() => new Promise((resolve) => server.close(resolve)));
  const network = new LoopbackNetwork(systemRandom, tcpDialer);
  const { ips } = await network.add({ pod: pod('a', ['app']), node: 202, injected: true });
  closers.push(() => network.remove('a'));
  assert.deepEqual(ips, ['127.244.202.2']);
});

test('two meshes of one machine never share an address, and a node is full at its 254', async () => {
  const [one, other] = [
    new LoopbackNetwork(systemRandom, tcpDialer),
    new LoopbackNetwork(systemRandom, tcpDialer),
  ];
  const seen = new Set<string>();
  let refused = '';
  for (let count = 0; count < 255; count++) {
    const network = count % 2 === 0 ? one : other;
    try {
      const { ips } = await network.add({ pod: pod(`p${count}`, ['app']), node: 203, injected: false });
      closers.push(() => network.remove(`p${count}`));
      seen.add(ips[0] ?? '');
    } catch (thrown) {
      refused = thrown instanceof Error ? thrown.message : '';
    }
  }
  assert.equal(seen.size, 254);
  assert.match(refused, /all 254 pod addresses of node 203 are taken/);
});

test('one state directory is claimed once', async () => {
  const release = await claimState(paths, 'default');
  await assert.rejects(claimState(paths, 'default'), { code: 'running' });
  const elsewhere = await claimState(statePaths({}, 'other', join(root, 'other')), 'other');
  await elsewhere();
  await release();
  await (await claimState(paths, 'default'))();
});

test('what a process leaves behind in its group ends with it', async () => {
  const children = new Children(systemClock, paths);
  const child = children.start({
    ...{ name: 'parent', command: 'sh', args: ['-c', 'sleep 300 & echo $!; exec sleep 300'], cwd: root },
    env: { PATH: process.env.PATH ?? '' },
  });
  const [line] = await once(child.stdout, 'data');
  const grandchild = Number(String(line));
  assert.deepEqual(
    children.running().map(({ name }) => name),
    ['parent'],
  );
  await child.stop(5_000);
  await eventually(() => processStartTime(grandchild) === undefined, {
    ...{ deadlineMs: 5_000, what: 'the grandchild is gone' },
  });
  assert.deepEqual(children.running(), []);
});

test('a process that pays no heed is killed after its grace', async () => {
  const children = new Children(systemClock, paths);
  const child = children.start({
    ...{
      name: 'deaf',
      command: 'sh',
      args: ['-c', 'trap "" TERM; echo ready; sleep 300; sleep 300'],
      cwd: root,
    },
    env: { PATH: process.env.PATH ?? '' },
  });
  await once(child.stdout, 'data');
  const { signal } = await child.stop(100);
  assert.equal(signal, 'SIGKILL');
});

test('a program that is not there is told, not thrown', async () => {
  const children = new Children(systemClock, paths);
  const child = children.start({ name: 'none', command: '/nonexistent', args: [], cwd: root, env: {} });
  assert.match((await child.exited).error ?? '', /ENOENT/);
  assert.deepEqual(children.running(), []);
});

test('leftovers are ended by pid and start time; a file of an earlier boot is nobody', async () => {
  const children = new Children(systemClock, paths);
  const start = () =>
    children.start({
      name: 'left',
      command: 'sleep',
      args: ['300'],
      cwd: root,
      env: { PATH: process.env.PATH ?? '' },
    });
  const child = start();
  const longAgo = new Date(0);
  utimesSync(paths.childrenFile, longAgo, longAgo);
  assert.deepEqual(await endLeftovers(paths, systemClock, process.env.PATH ?? ''), []);
  assert.equal(child.running(), true);
  assert.equal(statSync(paths.childrenFile, { throwIfNoEntry: false }), undefined, 'and the file is gone');
  const second = start();
  assert.deepEqual(await endLeftovers(paths, systemClock, process.env.PATH ?? ''), ['left', 'left']);
  await Promise.all([child.exited, second.exited]);
});
