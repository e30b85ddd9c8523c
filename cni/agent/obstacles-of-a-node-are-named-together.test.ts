import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NodeOffers, networkProblems } from './preflight.ts';

const WANTED = { cgroup: '/sys/fs/cgroup', mode: 'tunnel', pins: '/sys/fs/bpf/heddle/one' } as const;
const FIT: NodeOffers = {
  platform: 'linux',
  uid: 0,
  capabilities: (1n << 41n) - 1n,
  kernel: '5.17.0-1-amd64',
  cgroup: 'cgroup2',
  bpffs: true,
  libbpf: undefined,
  nftables: undefined,
  refused: [],
};
const cases: readonly (readonly [string, Partial<NodeOffers>, string])[] = [
  ['another system', { platform: 'darwin', cgroup: 'nothing' }, 'it needs Linux'],
  ['an ordinary user', { uid: 1000 }, 'it needs root'],
  [
    'root without its rights',
    { capabilities: 1n << 12n },
    'this root lacks CAP_NET_ADMIN or CAP_SYS_ADMIN, as in a container',
  ],
  ['Linux 5.10', { kernel: '5.10.0-28-amd64' }, 'it needs Linux 5.17 or newer, and this is 5.10.0-28-amd64'],
  ['Linux 4.19', { kernel: '4.19.0' }, 'it needs Linux 5.17 or newer, and this is 4.19.0'],
  ['a kernel of no number', { kernel: 'unknown' }, 'it needs Linux 5.17 or newer, and this is unknown'],
  [
    'no folder for its cgroup',
    { cgroup: 'nothing' },
    'there is no folder /sys/fs/cgroup: make it, or give another as --cgroup',
  ],
  [
    'a cgroup of version 1',
    { cgroup: 'another file system' },
    '/sys/fs/cgroup is no folder of cgroup v2: give --cgroup one above all containers, below where cgroup2 is mounted ' +
      "(systemd.unified_cgroup_hierarchy=1 on the kernel's command line mounts it at /sys/fs/cgroup)",
  ],
  [
    'a kernel without eBPF files',
    { bpffs: false },
    'no bpffs for /sys/fs/bpf/heddle/one: the kernel needs CONFIG_BPF_SYSCALL',
  ],
  ['no libbpf', { libbpf: 'install libbpf 1.1 or newer' }, 'install libbpf 1.1 or newer'],
  ['no nftables', { nftables: 'the program nft must be installed' }, 'the program nft must be installed'],
  [
    'programs that the verifier refuses',
    {
      refused: [
        { object: '/heddle/pod.o', reason: 'load /heddle/pod.o: EINVAL (unknown func bpf_redirect_peer)' },
      ],
    },
    "this kernel (5.17.0-1-amd64) doesn't take the programs of /heddle/pod.o: load /heddle/pod.o: EINVAL (unknown func bpf_redirect_peer)",
  ],
];

test('a node that has everything is told of nothing', () => {
  for (const kernel of ['5.17.0', '5.17.0-1-amd64', '6.0.0', '6.18.44-fc', '10.1'])
    assert.deepEqual(networkProblems({ ...FIT, kernel }, WANTED), []);
});

for (const [what, change, said] of cases)
  test(`an obstacle is named with its remedy: ${what}`, () =>
    assert.deepEqual(networkProblems({ ...FIT, ...change }, WANTED), [said]));

test('all of them are named at once', () => {
  const bare: NodeOffers = {
    ...FIT,
    uid: 1,
    kernel: '5.4.0',
    cgroup: 'nothing',
    bpffs: false,
    libbpf: 'none',
  };
  assert.equal(networkProblems(bare, WANTED).length, 5);
});
