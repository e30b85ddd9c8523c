import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { CniError } from '../../../cni/agent/cni/handler.ts';
import { HeddleError } from '../../../common/errors.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import { NodeSide, runPlugin } from './node-side.ts';

leakCheck();

test('an ADD reaches the node whole, and its result comes back', async () => {
  await using node = new NodeSide();
  await node.start();
  const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }];
  const { exitCode, output } = await node.run('ADD', {
    runtimeConfig: { portMappings },
    dns: { nameservers: ['10.96.0.10'] },
  });
  assert.equal(exitCode, 0);
  assert.equal(output.cniVersion, '1.1.0');
  assert.deepEqual(output.dns, { nameservers: ['10.96.0.10'] });
  const [request] = node.handler.adds;
  assert.ok(request !== undefined);
  assert.deepEqual(
    [request.containerId, request.ifname, request.netns, request.network, request.mode],
    ['abc', 'eth0', node.netns, 'heddle', 'full'],
  );
  assert.deepEqual(request.pod, { namespace: 'shop', name: 'web-1', uid: 'u1' });
  assert.equal(request.hostPorts[0]?.hostPort, 8080);
});

test('the other commands reach the node and say nothing when they succeed', async () => {
  await using node = new NodeSide();
  await node.start();
  const added = (await node.run('ADD')).output;
  for (const [command, more] of [
    ['CHECK', { prevResult: added }],
    ['DEL', { prevResult: added }],
    ['STATUS', {}],
    ['GC', { 'cni.dev/valid-attachments': [{ containerID: 'abc', ifname: 'eth0' }] }],
    ['GC', {}],
  ] as const)
    assert.deepEqual(await node.run(command, more), { exitCode: 0, text: '', output: {} }, command);
  assert.deepEqual(node.handler.checks[0]?.prevResult.ips[0]?.address, '10.244.1.2/32');
  assert.equal(node.handler.dels.length, 1);
  assert.equal(node.handler.statuses, 1);
  // A GC without a list must not be taken for one with an empty list.
  assert.deepEqual(node.handler.gcs, [
    { network: 'heddle', valid: [{ containerId: 'abc', ifname: 'eth0' }] },
  ]);
  assert.deepEqual((await runPlugin({ CNI_COMMAND: 'VERSION' }, node.config())).exitCode, 0);
});

test('over another network the result before passes on untouched', async () => {
  await using node = new NodeSide();
  await node.start();
  const prevResult = { cniVersion: '1.1.0', ips: [{ address: '10.1.0.5/16' }], 'x.dev/more': [1] };
  const { output } = await node.run('ADD', { mode: 'capture', prevResult });
  assert.deepEqual(output, prevResult);
  assert.deepEqual(node.handler.adds[0]?.prevResult?.ips, [{ address: '10.1.0.5/16' }]);
});

test("the node's refusals keep their code, message and details", async () => {
  await using node = new NodeSide();
  await node.start();
  for (const [thrown, code, msg] of [
    [new CniError(11, 'wait', 'for it'), 11, 'wait'],
    [new CniError(51, 'broken'), 51, 'broken'],
    [new HeddleError('addresses-exhausted', 'no address is left'), 11, 'no address is left'],
    [new HeddleError('netlink', 'EPERM'), 999, 'EPERM'],
    [new TypeError('a bug'), 999, 'a bug'],
  ] as const) {
    node.handler.before = () => {
      throw thrown;
    };
    const { exitCode, output } = await node.run('ADD');
    assert.deepEqual([exitCode, output.code, output.msg], [1, code, msg]);
    assert.equal(
      output.details,
      thrown instanceof CniError && thrown.details !== '' ? thrown.details : undefined,
    );
  }
});

test("a namespace that is gone, or is the node's own, is refused before anything is made", async () => {
  await using node = new NodeSide();
  await node.start();
  const gone = await runPlugin(
    { ...node.environment('ADD'), CNI_NETNS: `${node.netns}-gone` },
    node.config(),
  );
  assert.deepEqual([gone.output.code, gone.exitCode], [3, 1]);
  const own = join(node.directory, 'own');
  symlinkSync('/proc/self/ns/net', own);
  assert.equal(
    (await runPlugin({ ...node.environment('ADD'), CNI_NETNS: own }, node.config())).output.code,
    4,
  );
  assert.equal(node.handler.adds.length, 0);
  const del = await runPlugin({ ...node.environment('DEL'), CNI_NETNS: `${node.netns}-gone` }, node.config());
  assert.equal(del.exitCode, 0);
});

test('50 pods at once are added within 2 s, those of one container one after the other', async () => {
  await using node = new NodeSide();
  await node.start();
  const startMs = performance.now();
  const runs = await Promise.all(Array.from({ length: 50 }, (_, index) => node.run('ADD', {}, `c${index}`)));
  const tookMs = performance.now() - startMs;
  assert.deepEqual(
    runs.filter(({ exitCode }) => exitCode !== 0),
    [],
  );
  const addresses = new Set(runs.map(({ output }) => JSON.stringify(output.ips)));
  assert.equal(addresses.size, 50);
  assert.ok(tookMs < 2_000, `${tookMs} ms`);
  let running = 0;
  let most = 0;
  node.handler.before = async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  };
  await Promise.all(Array.from({ length: 10 }, () => node.run('DEL', {}, 'one')));
  assert.equal(most, 1);
});

test('deletions that came without an agent are made up for, before an ADD of the same container', async () => {
  await using node = new NodeSide();
  for (const container of ['a', 'b']) await node.run('DEL', {}, container);
  writeFileSync(join(node.deleted, 'rubbish'), 'x');
  const server = await node.start();
  await server.caughtUp;
  assert.deepEqual(node.handler.dels.map(({ containerId }) => containerId).sort(), ['a', 'b']);
  assert.deepEqual(readdirSync(node.deleted), []);
  await node.stop();
  await node.run('DEL', {}, 'c');
  const order: string[] = [];
  node.handler.before = (command) => {
    order.push(command);
  };
  const started = node.start();
  await started;
  await node.run('ADD', {}, 'c');
  assert.deepEqual(order, ['DEL', 'ADD']);
});

test('a queued deletion that fails is tried again', async () => {
  await using node = new NodeSide();
  await node.run('DEL');
  let refusals = 2;
  node.handler.before = () => {
    if (refusals-- > 0) throw new CniError(11, 'not yet');
  };
  const server = await node.start({ deletedScanMs: 20 });
  await server.caughtUp;
  assert.equal(existsSync(join(node.deleted, 'abc@eth0')), true);
  await eventually(() => !existsSync(join(node.deleted, 'abc@eth0')), {
    deadlineMs: 5_000,
    what: 'the deletion succeeds at last',
  });
  assert.equal(node.handler.dels.length, 3);
});

test('a call that takes too long is told so, and its container stays its own', async () => {
  await using node = new NodeSide();
  await node.start({ callMs: 100 });
  const { promise, resolve } = Promise.withResolvers<void>();
  node.handler.before = (command) => (command === 'ADD' ? promise : undefined);
  const slow = await node.run('ADD');
  assert.equal(slow.output.code, 11);
  assert.match(String(slow.output.msg), /longer than 100 ms/);
  assert.equal(node.handler.adds[0]?.signal.aborted, true);
  const waiting = await node.run('DEL');
  assert.equal(waiting.output.code, 11);
  assert.equal(node.handler.dels.length, 0);
  assert.equal((await node.run('STATUS')).exitCode, 0);
  resolve();
  assert.equal((await node.run('DEL')).exitCode, 0);
});

test('a new agent takes the socket over, and the old one leaves it alone', async () => {
  await using node = new NodeSide();
  const old = await node.start();
  assert.equal(statSync(node.socket).mode & 0o777, 0o600);
  const { promise, resolve } = Promise.withResolvers<void>();
  node.handler.before = (command) => (command === 'CHECK' ? promise : undefined);
  const prevResult = (await node.run('ADD')).output;
  const running = node.run('CHECK', { prevResult });
  await eventually(() => node.handler.checks.length === 1, {
    deadlineMs: 5_000,
    what: 'the old agent is at work',
  });
  await node.start();
  const closing = old.close();
  assert.equal((await node.run('STATUS')).exitCode, 0);
  resolve();
  await closing;
  assert.equal((await running).exitCode, 0);
  assert.equal((await node.run('STATUS')).exitCode, 0);
  assert.deepEqual(readdirSync(join(node.directory, 'run')), ['cni.sock']);
});

test('a socket that a killed agent left is taken over', async () => {
  await using node = new NodeSide();
  mkdirSync(join(node.directory, 'run'));
  writeFileSync(node.socket, '');
  await node.start();
  assert.equal((await node.run('STATUS')).exitCode, 0);
});

test('callers that send too little, too much or something else get an answer and cost nothing', async () => {
  await using node = new NodeSide();
  await node.start({ requestReadMs: 50 });
  const ask = async (bytes: Buffer | string) => {
    const socket = net.connect(node.socket);
    socket.write(bytes);
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    await once(socket, 'close');
    return text;
  };
  assert.match(await ask('HCN1'), /did not arrive in time/);
  assert.match(await ask('GET / HTTP/1.1\r\n\r\n'), /not one of heddle-cni/);
  assert.match(await ask(Buffer.from('HCN1\xff\xff\xff\x7f\x00\x00\x00\x00', 'latin1')), /larger than 65536/);
  assert.match(await ask(Buffer.from('HCN1\x00\x00\x00\x00\x00\x00\x00\x00more', 'latin1')), /cut off/);
  assert.equal((await node.run('STATUS')).exitCode, 0);
});

test('a socket that can not be made is said', async () => {
  await using node = new NodeSide();
  writeFileSync(join(node.directory, 'run'), '');
  await assert.rejects(node.start(), /the CNI socket .* can't be made/);
});
