import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { EbpfNetwork } from './ebpf.ts';
import type { Host, Ran } from './host.ts';
import { Made } from './made.ts';

leakCheck();

let root: string;
let clock: VirtualClock;
let lines: string[];
let said: string[];
let processes: string[];
/** What the plugin answers, call after call; then always a result. */
let answers: Partial<Ran>[];
let network: EbpfNetwork;

const RESULT = JSON.stringify({ ips: [{ address: '10.244.1.2/32' }] });
/** Runs nothing, and keeps what it is asked. */
const host: Host = {
  async run(command, args, options = {}) {
    const command_ = options.env?.CNI_COMMAND;
    lines.push(command_ === undefined ? [command, ...args].join(' ') : `plugin ${command_}`);
    if (command_ !== undefined) return { code: 0, out: RESULT, err: '', ...answers.shift() };
    return { code: 0, out: args.includes('-json') ? '[]' : '', err: '' };
  },
};

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'heddle-pods-'));
  clock = new VirtualClock();
  [lines, said, processes, answers] = [[], [], [], []];
  network = new EbpfNetwork({
    ...{ clock, host, mesh: 'm', nodes: 2, ipv6: true, startedAt: '2026-01-01T00:00:00Z', plugin: '/plugin' },
    ...{ run: join(root, 'run', 'm'), cgroup: join(root, 'cgroup', 'm'), podsDirectory: join(root, 'pods') },
    ...{ made: new Made(join(root, 'network')), madeFile: join(root, 'network') },
    ...{ trustDirectory: join(root, 'trust'), programDirectories: [] },
    processes: () => ({
      start: (places) => void processes.push(...places.map((place) => `start ${place.name}`)),
      ready: async () => void processes.push('ready'),
      stop: async () => void processes.push('stop'),
    }),
    trust: () => ({ close: () => void processes.push('trust closed') }),
    say: (line) => void said.push(line),
  });
  await network.start();
  lines.length = 0;
});
afterEach(async () => {
  await network.stop();
  rmSync(root, { recursive: true, force: true });
});

const pod = (spec: Record<string, JsonValue> = {}): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web-1', namespace: 'shop', uid: '0123456789' } },
  spec: { containers: [{ name: 'web' }], ...spec },
});
const NAMESPACE = 'heddle-m-01234567-web-1';
const made = () => readFileSync(join(root, 'network'), 'utf8');

test('a pod gets its namespace, is attached, and its sidecar is told of capture', async () => {
  const added = await network.add({ pod: pod(), node: 0, injected: true });
  assert.deepEqual(added.ips, ['10.244.1.2']);
  assert.equal(added.netns, `/run/netns/${NAMESPACE}`);
  assert.deepEqual(added.env.get('heddle-proxy'), { HEDDLE_CAPTURE: 'transparent' });
  assert.equal(added.env.get('web'), undefined, 'an app needs no variable');
  assert.equal(lines[0], `ip netns add ${NAMESPACE}`);
  assert.equal(lines.at(-1), 'plugin ADD');
  assert.match(made(), new RegExp(`^netns ${NAMESPACE}$`, 'm'));
  assert.ok(existsSync(join(root, 'cgroup/m/node-1/0123456789')));
  assert.equal(await network.check('0123456789'), undefined);
});

test('what goes leaves nothing', async () => {
  await network.add({ pod: pod(), node: 1, injected: false });
  lines.length = 0;
  const removed = network.remove('0123456789');
  await clock.advance(6_000);
  await removed;
  assert.deepEqual(lines, ['plugin DEL', `ip netns del ${NAMESPACE}`]);
  assert.doesNotMatch(made(), new RegExp(NAMESPACE));
  assert.equal(await network.check('0123456789'), 'the pod has no address');
  await network.remove('0123456789');
  assert.equal(lines.length, 2, 'and a second time is none');
});

test('while the agent says later, the pod waits', async () => {
  const later = { code: 1, out: '{"code":11,"msg":"no agent"}' };
  answers = [later, later, { out: RESULT }];
  const adding = network.add({ pod: pod(), node: 0, injected: false });
  for (let turn = 0; turn < 3; turn++) {
    await settle();
    await clock.advance(250);
  }
  assert.deepEqual((await adding).ips, ['10.244.1.2']);
  assert.deepEqual(lines.slice(-3), ['plugin ADD', 'plugin ADD', 'plugin ADD']);
});

test('a pod that can’t be attached leaves nothing, and its reason is told', async () => {
  answers = [{ code: 1, out: '{"code":7,"msg":"bad"}' }];
  const adding = network.add({ pod: pod(), node: 0, injected: false });
  const failed = assert.rejects(adding, /ADD: bad/);
  await settle();
  await clock.advance(6_000);
  await failed;
  assert.deepEqual(lines.slice(-2), ['plugin DEL', `ip netns del ${NAMESPACE}`]);
});

test('a DEL that fails is told, and the namespace goes all the same', async () => {
  await network.add({ pod: pod(), node: 0, injected: false });
  answers = [{ code: 1, out: '{"code":999,"msg":"stuck"}' }];
  const removed = network.remove('0123456789');
  await clock.advance(6_000);
  await removed;
  assert.equal(lines.at(-1), `ip netns del ${NAMESPACE}`);
  assert.ok(said.some((line) => /stuck; its namespace is removed all the same/.test(line)));
});

test('a pod of the node’s network has the node’s addresses, and no plugin is called', async () => {
  const added = await network.add({ pod: pod({ hostNetwork: true }), node: 1, injected: false });
  assert.deepEqual(added.ips, network.hostIps(1));
  assert.equal(added.netns, '/run/netns/heddle-m-node-2');
  assert.deepEqual(lines, []);
});

test('nodes are told with addresses of both families, and the mesh ends its processes', async () => {
  assert.deepEqual(network.hostIps(0), ['172.31.200.11', 'fd10:245:0:c8::b']);
  assert.deepEqual(
    network.nodes().map((node) => node.metadata.name),
    ['node-1', 'node-2'],
  );
  await network.ready();
  await network.stop();
  assert.deepEqual(processes, ['start node-1', 'start node-2', 'ready', 'trust closed', 'stop']);
});
