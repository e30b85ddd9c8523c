import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCall } from '../../../cni/agent/cni/call.ts';
import { readFrame } from '../../../cni/agent/cni/frame.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { NodeSide, PLUGIN, runPlugin } from './node-side.ts';

leakCheck();

const SUPPORTED = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'];

test('the plugin is small', () => {
  assert.ok(statSync(PLUGIN).size <= 20 * 1024);
});

test('it knows its versions without any agent', async () => {
  for (const [input, version] of [
    ['{"cniVersion":"0.4.0"}', '0.4.0'],
    ['{"cniVersion":"1.1.0","x":[1,2,{"cniVersion":"9"}]}', '1.1.0'],
    ['', '1.1.0'],
    ['{}', '1.1.0'],
  ] as const) {
    const { exitCode, output } = await runPlugin({ CNI_COMMAND: 'VERSION' }, input);
    assert.deepEqual([exitCode, output], [0, { cniVersion: version, supportedVersions: SUPPORTED }]);
  }
  const { exitCode, output } = await runPlugin({ CNI_COMMAND: 'VERSION' }, '{');
  assert.deepEqual([exitCode, output.code], [1, 6]);
});

test('a version is told even where standard input stays open', async () => {
  const { exitCode, output } = await runPlugin({ CNI_COMMAND: 'VERSION' }, undefined);
  assert.deepEqual([exitCode, output.supportedVersions], [0, SUPPORTED]);
});

test('each command has its answer: again later, not available, or done', async () => {
  await using node = new NodeSide();
  for (const [command, code] of [
    ['ADD', 11],
    ['CHECK', 11],
    ['GC', 11],
    ['STATUS', 50],
  ] as const) {
    const { exitCode, output } = await node.run(command);
    assert.equal(exitCode, 1);
    assert.equal(output.code, code, command);
    assert.equal(output.cniVersion, '1.1.0');
    assert.match(String(output.msg), /agent on this node is not running/);
    assert.equal(output.details, node.socket);
  }
  const { exitCode, text } = await node.run('DEL');
  assert.deepEqual([exitCode, text], [0, '']);
});

test('a deletion is kept for the agent, with what it needs and no more', async () => {
  await using node = new NodeSide();
  await node.run('DEL', { mode: 'capture', prevResult: { ips: [] } });
  await node.run('DEL', {}, 'other');
  await node.run('DEL', {}, 'other');
  assert.deepEqual(readdirSync(node.deleted).sort(), ['abc@eth0', 'other@eth0']);
  assert.equal(statSync(node.deleted).mode & 0o777, 0o700);
  const path = join(node.deleted, 'abc@eth0');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const call = readCall(readFrame(readFileSync(path)));
  assert.ok(call.command === 'DEL');
  assert.deepEqual(
    [call.containerId, call.ifname, call.netns, call.network, call.mode, call.pod?.name],
    ['abc', 'eth0', node.netns, 'heddle', 'capture', 'web-1'],
  );
});

test('no more deletions are kept than may, and the runtime is told to come again', async () => {
  await using node = new NodeSide();
  mkdirSync(node.deleted, { recursive: true });
  for (let index = 0; index < 4096; index++) writeFileSync(join(node.deleted, `c${index}@eth0`), '');
  const { exitCode, output } = await node.run('DEL');
  assert.deepEqual([exitCode, output.code], [1, 11]);
  assert.match(String(output.details), /4096/);
});

test('what is missing or wrong is told by its name, and its code', async () => {
  await using node = new NodeSide();
  const good = node.environment('ADD');
  const without = (name: string) => {
    const { [name]: _, ...rest } = good;
    return rest;
  };
  const cases: readonly (readonly [Record<string, string>, string, number, RegExp])[] = [
    [{}, '', 4, /CNI_COMMAND is not set/],
    [{ ...good, CNI_COMMAND: 'FETCH' }, '', 4, /CNI_COMMAND must be/],
    [without('CNI_CONTAINERID'), '', 4, /CNI_CONTAINERID is not set/],
    [{ ...good, CNI_CONTAINERID: '../x' }, '', 4, /CNI_CONTAINERID must be/],
    [{ ...good, CNI_CONTAINERID: 'x'.repeat(201) }, '', 4, /CNI_CONTAINERID must be/],
    [without('CNI_IFNAME'), '', 4, /CNI_IFNAME is not set/],
    [{ ...good, CNI_IFNAME: 'much-too-long-name' }, '', 4, /CNI_IFNAME must be/],
    [without('CNI_NETNS'), '', 4, /CNI_NETNS is not set/],
    [{ ...good, CNI_ARGS: 'x'.repeat(70_000) }, node.config(), 4, /65536/],
    [good, '', 6, /no JSON object/],
    [good, '[]', 6, /no JSON object/],
    [good, node.config({ cniVersion: 1 }), 6, /must hold text/],
    [good, node.config({ cniVersion: '0.2.0' }), 1, /not supported/],
    [good, '{"name":"heddle"}', 1, /not supported/],
    [{ ...good, CNI_COMMAND: 'GC' }, node.config({ cniVersion: '1.0.0' }), 1, /needs a newer cniVersion/],
    [good, node.config({ name: undefined }), 7, /network's name/],
    [good, node.config({ name: 'a b' }), 7, /network's name/],
    [good, node.config({ agentSocket: 'cni.sock' }), 7, /agentSocket must be an absolute path/],
    [good, node.config({ agentSocket: `/${'x'.repeat(107)}` }), 7, /107 bytes/],
    [good, node.config({ agentSocket: '/a\u0000b' }), 7, /agentSocket/],
    [good, node.config({ x: 'x'.repeat(1 << 20) }), 7, /1048576/],
  ];
  for (const [env, input, code, message] of cases) {
    const { exitCode, output } = await runPlugin(env, input);
    assert.deepEqual([exitCode, output.code], [1, code], String(output.msg));
    assert.match(String(output.msg), message);
  }
});

test('an error is told in the version of the call', async () => {
  await using node = new NodeSide();
  const { output } = await node.run('ADD', { cniVersion: '0.4.0' });
  assert.equal(output.cniVersion, '0.4.0');
});

test('the socket is found however it is written', async () => {
  await using node = new NodeSide();
  const escaped = [...node.socket]
    .map((one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');
  const input = ` {"cniVersion":"1.1.0","a":{"agentSocket":"/wrong"},"agentSocket":"/first",
    "name":"heddle","b":["\\"agentSocket\\":",1.5e-3,true,null],"agent\\u0053ocket":"${escaped}"}\n`;
  const { output } = await runPlugin(node.environment('ADD'), input);
  assert.equal(output.details, node.socket);
});

test('what is JSON here is JSON there', { timeout: 120_000 }, async () => {
  await using node = new NodeSide();
  const inner = fc.oneof(
    fc.json(),
    fc.json().map((text) => text.slice(0, -1)),
    fc.constantFrom(
      '01',
      '-',
      '1.',
      '.5',
      '1e',
      '1e+5',
      '"\t"',
      '"\\x"',
      '"\\u12g4"',
      'tru',
      '[1,]',
      '{"a":1,}',
      '[1 2]',
      '""',
      '-0',
      '"\\/"',
    ),
    fc.string({ maxLength: 8 }),
  );
  await fc.assert(
    fc.asyncProperty(inner, async (value) => {
      const text = `{"cniVersion":"1.1.0","name":"heddle","agentSocket":"${node.socket}","x":${value}}`;
      const { output } = await runPlugin(node.environment('ADD'), text);
      assert.equal(output.code === 6, !isObject(text), `${text} -> ${JSON.stringify(output)}`);
    }),
    { numRuns: 250 },
  );
});

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

test('nesting has an end', async () => {
  await using node = new NodeSide();
  const nested = (depth: number) =>
    node.config().replace(/}$/, `,"x":${'['.repeat(depth)}${']'.repeat(depth)}}`);
  assert.equal((await runPlugin(node.environment('ADD'), nested(60))).output.code, 11);
  assert.equal((await runPlugin(node.environment('ADD'), nested(100_000))).output.code, 6);
});

test('an agent that ends in the middle of a call is no agent', async () => {
  await using node = new NodeSide();
  mkdirSync(join(node.directory, 'run'));
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.once('data', () => socket.end('HCN1'));
  });
  await new Promise<void>((resolve) => server.listen(node.socket, resolve));
  try {
    const { output } = await node.run('ADD');
    assert.equal(output.code, 11);
    assert.match(String(output.msg), /ended while it was asked/);
    assert.equal((await node.run('DEL')).exitCode, 0);
    assert.deepEqual(readdirSync(node.deleted), ['abc@eth0']);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
});
