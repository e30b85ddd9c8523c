import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseNetwork } from './choose.ts';
import { ebpfObstacles, type MachineFacts, programFolders } from './preflight.ts';

const FIT: MachineFacts = {
  platform: 'linux',
  uid: 0,
  capabilities: (1n << 41n) - 1n,
  kernel: '6.6.0-amd64',
  missingPrograms: [],
  libbpf: true,
  cgroupRoot: '/sys/fs/cgroup',
  plugin: '/heddle/cni/plugin/bin/x64/heddle-cni',
  agent: true,
  routes: ['192.168.1.0/24', 'fd00::/64'],
  ipv6: true,
};

const unfit: readonly (readonly [string, Partial<MachineFacts>, RegExp])[] = [
  ['another system', { platform: 'darwin' }, /needs Linux/],
  ['an ordinary user', { uid: 1000 }, /needs root/],
  ['root without capabilities', { capabilities: 0n }, /CAP_NET_ADMIN/],
  ['an old kernel', { kernel: '5.16.9' }, /Linux 5\.17 or newer, and this is 5\.16\.9/],
  ['missing programs', { missingPrograms: ['nft', 'ip'] }, /nft, ip must be installed/],
  ['no libbpf', { libbpf: false }, /libbpf\.so\.1/],
  ['no cgroup v2', { cgroupRoot: undefined }, /cgroup v2/],
  ['no plugin', { plugin: undefined }, /no CNI plugin/],
  ['no agent', { agent: false }, /no node agent yet/],
  ['a route into the pods', { routes: ['10.244.3.0/24'] }, /route to 10\.244\.3\.0\/24/],
  ['a route around the Services', { routes: ['10.0.0.0/8'] }, /route to 10\.0\.0\.0\/8/],
];

test('a machine that has everything is told of nothing', () => {
  assert.deepEqual(ebpfObstacles(FIT), []);
  assert.deepEqual(ebpfObstacles({ ...FIT, kernel: '5.17.0-1' }), []);
});

for (const [what, change, said] of unfit) {
  test(`the obstacle is named: ${what}`, () => {
    const found = ebpfObstacles({ ...FIT, ...change });
    assert.equal(found.length, 1);
    assert.match(found[0] ?? '', said);
  });
}

test('left to Heddle, the network is the one that can run, with the reason; asked for, it fails with it', async () => {
  const machine = () => Promise.resolve({ ...FIT, uid: 1000 });
  assert.deepEqual(await chooseNetwork('auto', 2, machine), { ebpf: undefined, because: 'it needs root' });
  await assert.rejects(
    chooseNetwork('ebpf', 2, machine),
    /can't run here: it needs root .*--network loopback/,
  );
  const fit = await chooseNetwork('auto', 2, () => Promise.resolve(FIT));
  assert.deepEqual(fit, { ebpf: FIT, because: undefined });
});

test('an ordinary user is not told to install what only root has on the PATH', () => {
  assert.ok(programFolders('/usr/bin:/bin', 1_000).includes('/usr/sbin'));
  assert.deepEqual(programFolders('/usr/bin:/bin', 0), ['/usr/bin', '/bin']);
});
