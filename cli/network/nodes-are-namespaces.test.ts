import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { writeAtomically } from '../../common/atomic-file.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { chooseNetwork } from './choose.ts';
import { overlaps } from './cidr.ts';
import type { Host, Ran } from './host.ts';
import { layOut, nodeObject, podNamespace } from './layout.ts';
import { Made } from './made.ts';
import type { MachineFacts } from './preflight.ts';
import { TrustFolder } from './trust-folder.ts';
import { chooseUnderlay, makeUnderlay } from './underlay.ts';
import { worldRules } from './world.ts';

leakCheck();

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-underlay-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

interface Asked {
  readonly line: string;
  readonly input: string;
}

/** A machine with these links, namespaces and routes, which keeps what it is asked. Anything else it refuses. */
function machine(has: { links?: string[]; namespaces?: string[]; routes?: string[] } = {}) {
  const asked: Asked[] = [];
  const list = (field: string, names: readonly string[] = []) =>
    JSON.stringify(names.map((name) => ({ [field]: name })));
  const answer = (line: string): Partial<Ran> => {
    if (line === 'ip -json link show') return { out: list('ifname', has.links) };
    if (line === 'ip -json netns list')
      return { out: has.namespaces === undefined ? '' : list('name', has.namespaces) };
    if (line === 'ip -json -4 route show') return { out: list('dst', ['default', ...(has.routes ?? [])]) };
    if (line === 'ip -json -6 route show') return { out: '[]' };
    if (line.startsWith('ip ') && line.endsWith('-batch -')) return {};
    return { code: 1, err: `not expected: ${line}` };
  };
  const host: Host = {
    async run(command, args, options = {}) {
      const line = [command, ...args].join(' ');
      asked.push({ line, input: options.input ?? '' });
      return { code: 0, out: '', err: '', ...answer(line) };
    },
  };
  return { host, asked };
}

test('the first bridge and subnet that nothing has are taken', async () => {
  const free = await chooseUnderlay(machine().host, 'default', 2, true);
  assert.deepEqual([free.bridge, free.ip4, free.ip6], ['heddle0', '172.31.200.1', 'fd10:245:0:c8::1']);
  const busy = machine({ links: ['lo', 'heddle0'], routes: ['172.31.200.0/23', '10.0.0.0/8'] });
  const next = await chooseUnderlay(busy.host, 'default', 2, true);
  assert.deepEqual([next.bridge, next.ip4], ['heddle1', '172.31.202.1']);
});

test('a machine without a free subnet, and a second mesh of the name, are told', async () => {
  await assert.rejects(
    chooseUnderlay(machine({ routes: ['172.16.0.0/12'] }).host, 'a', 1, false),
    /no subnet/,
  );
  const bridges = Array.from({ length: 100 }, (_, index) => `heddle${index}`);
  await assert.rejects(chooseUnderlay(machine({ links: bridges }).host, 'a', 1, false), /no bridge name/);
  const twin = machine({ namespaces: ['heddle-a-node-1'] });
  await assert.rejects(
    chooseUnderlay(twin.host, 'a', 1, false),
    /another mesh of this name .* another --name/,
  );
});

test('everything is named in the file before it is made', async () => {
  const { host, asked } = machine();
  const file = join(root, 'network');
  const underlay = layOut('m', 'heddle0', 200, 2);
  const watched: Host = {
    run: (command, args, options) => {
      for (const name of ['heddle0', 'heddle0-n1', 'heddle-m-node-2'])
        assert.match(readFileSync(file, 'utf8'), new RegExp(`^(link|netns) ${name}$`, 'm'));
      return host.run(command, args, options);
    },
  };
  await makeUnderlay(watched, underlay, new Made(file), true);
  const lines = asked.flatMap(({ input }) => input.trim().split('\n'));
  assert.ok(lines.includes('link add heddle0-n2 type veth peer name eth0 netns heddle-m-node-2'));
  assert.ok(lines.includes('route add 10.244.2.0/24 via 172.31.200.12 dev heddle0'));
  assert.ok(lines.includes('route add fd10:244:0:1::/64 via fd10:245:0:c8::b dev heddle0'));
  assert.ok(lines.includes('route add 10.96.0.0/16 via 172.31.200.11 dev heddle0'));
  assert.deepEqual(
    asked.map(({ line }) => line),
    ['ip -batch -', 'ip -n heddle-m-node-1 -batch -', 'ip -n heddle-m-node-2 -batch -', 'ip -batch -'],
  );
});

test('without IPv6 no address and no route of it is asked for', async () => {
  const { host, asked } = machine();
  const underlay = layOut('m', 'heddle0', 200, 1);
  await makeUnderlay(host, underlay, new Made(join(root, 'network')), false);
  assert.ok(!asked.some(({ input }) => /fd10/.test(input)));
  const place = underlay.nodes[0];
  assert.ok(place !== undefined);
  assert.deepEqual(nodeObject(place, false, '').spec, {
    podCIDR: '10.244.1.0/24',
    podCIDRs: ['10.244.1.0/24'],
  });
});

test('names of namespaces stay file names, and hold mesh, uid and pod', () => {
  const pod = (name: string) => ({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, uid: '01234567-89ab' } },
  });
  assert.equal(podNamespace('m', pod('web-1')), 'heddle-m-01234567-web-1');
  assert.equal(podNamespace('m', pod('x'.repeat(253))).length, 200);
});

test('nodes reach the world, and the machine forwards for nobody else', () => {
  const underlay = layOut('m', 'heddle0', 200, 1);
  const rules = worldRules('heddle_m', underlay, false);
  assert.match(rules, /ip saddr 172\.31\.200\.0\/24 oifname != "heddle0" masquerade/);
  assert.match(rules, /iifname != "heddle0" oifname "heddle0" ct state new drop/);
  assert.match(rules, /iifname != "heddle0" oifname != "heddle0" drop/);
  const router = worldRules('heddle_m', underlay, true);
  assert.doesNotMatch(router, /oifname != "heddle0" drop/, 'what forwarded before goes on');
});

test('ranges overlap where they share an address', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['10.244.3.0/24', '10.244.0.0/16', true],
    ['10.0.0.0/8', '10.244.0.0/16', true],
    ['10.245.0.0/16', '10.244.0.0/16', false],
    ['0.0.0.0/0', '10.244.0.0/16', true],
    ['10.244.255.255', '10.244.0.0/16', true],
    ['fd10:244:0:7::/64', 'fd10:244::/56', true],
    ['fd10:244:0:100::/64', 'fd10:244::/56', false],
    ['::ffff:10.0.0.1', '::ffff:0:0/96', true],
    ['fd10::/16', '10.244.0.0/16', false],
    ['nonsense', '10.244.0.0/16', false],
    ['10.244.0.0/33', '10.244.0.0/16', false],
  ];
  for (const [left, right, wanted] of cases) {
    assert.equal(overlaps(left, right), wanted, `${left} ${right}`);
    assert.equal(overlaps(right, left), wanted, `${right} ${left}`);
  }
});

const FACTS: MachineFacts = {
  ...{ platform: 'linux', uid: 0, capabilities: (1n << 40n) - 1n, kernel: '6.6.1', missingPrograms: [] },
  ...{ libbpf: true, cgroupRoot: '/sys/fs/cgroup', plugin: '/p', agent: true, routes: [], ipv6: true },
};

test('the network is chosen by what the machine can, and by what is asked for', async () => {
  const sound = async () => FACTS;
  const poor = async () => ({ ...FACTS, uid: 1_000 });
  assert.deepEqual(await chooseNetwork('auto', 2, sound), { ebpf: FACTS, because: undefined });
  const fallen = await chooseNetwork('auto', 2, poor);
  assert.equal(fallen.ebpf, undefined);
  assert.match(fallen.because ?? '', /needs root/);
  await assert.rejects(
    chooseNetwork('ebpf', 2, poor),
    (thrown: Error) => 'code' in thrown && thrown.code === 'unsupported' && /needs root/.test(thrown.message),
  );
  await assert.rejects(chooseNetwork('ebpf', 201, sound), /200 nodes at most/);
  const never = async () => assert.fail('loopback mode asks nothing of the machine');
  assert.deepEqual(await chooseNetwork('loopback', 2, never), { ebpf: undefined, because: undefined });
});

test('pods see the roots, and every change of them', async () => {
  const clock = new VirtualClock();
  const source = join(root, 'root.pem');
  const folder = join(root, 'trust');
  const trust = new TrustFolder(clock, source, folder);
  assert.ok(!existsSync(join(folder, 'root.pem')), 'there is none before the control plane runs');
  const write = (text: string) => writeAtomically(source, text);
  write('first');
  await clock.advance(1_000);
  assert.match(readFileSync(join(folder, 'root.pem'), 'utf8'), /first/);
  write('second');
  await clock.advance(1_000);
  assert.match(readFileSync(join(folder, 'root.pem'), 'utf8'), /second/);
  trust.close();
});
