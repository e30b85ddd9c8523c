import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupFolderIn, cgroupMounts, widestMount } from './cgroup-root.ts';

const ETC = '11 10 8:1 /etc /etc ro shared:1 - ext4 /dev/sda rw';
const V1 = '20 19 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu';
const HYBRID = '30 19 0:38 / /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw';
const OF_CONTAINER = '31 19 0:38 /kubepods/pod1/abc /sys/fs/cgroup ro - cgroup2 cgroup rw';
const OF_HOST = '32 19 0:38 / /host/cgroup ro master:3 - cgroup2 cgroup2 rw';
const ABOVE = '33 19 0:38 /../../.. /host/cgroup ro master:3 - cgroup2 cgroup2 rw';
const OWN = '34 19 0:38 / /sys/fs/cgroup ro - cgroup2 cgroup rw';

test('mounts of cgroup v2 are told from version 1, also where both are mounted', () => {
  assert.deepEqual(cgroupMounts([ETC, V1, HYBRID, ''].join('\n')), [
    { place: '/sys/fs/cgroup/unified', root: '/' },
  ]);
  assert.deepEqual(cgroupMounts([ETC, V1].join('\n')), []);
});

test("the widest mount is the host's, whatever namespace the container has", () => {
  assert.equal(widestMount(cgroupMounts([OF_CONTAINER, OF_HOST].join('\n')))?.place, '/host/cgroup');
  assert.equal(widestMount(cgroupMounts([OWN, ABOVE].join('\n')))?.place, '/host/cgroup');
  assert.equal(widestMount([]), undefined);
});

const HOST = { place: '/host/cgroup', root: '/' };
const cases: readonly (readonly [typeof HOST, string, string | undefined])[] = [
  [HOST, '/kubepods/pod1/abc', '/host/cgroup/kubepods/pod1/abc'],
  [HOST, '/../outside', undefined],
  [{ place: '/cg', root: '/kubepods' }, '/kubepods/pod1/abc', '/cg/pod1/abc'],
  [{ place: '/cg', root: '/kubepods' }, '/kubepods-other/abc', undefined],
];

for (const [mount, path, folder] of cases)
  test(`${path} is seen in a mount of ${mount.root} as ${folder ?? 'nothing'}`, () => {
    assert.equal(cgroupFolderIn(mount, path), folder);
  });
