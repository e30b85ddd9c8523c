import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroup2Mounts, effectiveCapabilities, kernelAtLeast } from './linux.ts';

test('a release is read by its two numbers, whatever follows', () => {
  for (const later of ['5.17', '5.17.0-1-amd64', '5.17-rc3', '5.100.1', '6.0.0', '10.0'])
    assert.equal(kernelAtLeast(later, [5, 17]), true, later);
  for (const earlier of ['5.16.20', '5.2.0', '4.19.0-27', '2.6.32', '', 'unknown', '5'])
    assert.equal(kernelAtLeast(earlier, [5, 17]), false, earlier);
});

test('capabilities in force are those of CapEff', () => {
  assert.equal(effectiveCapabilities('CapPrm:\t00000000000000ff\nCapEff:\t0000000000201000\n'), 0x201000n);
  assert.equal(effectiveCapabilities(''), 0n);
});

test('cgroup v2 is found beside v1 and by itself', () => {
  const v1 = 'cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n';
  const v2 = 'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
  assert.deepEqual(cgroup2Mounts(v1 + v2), ['/sys/fs/cgroup/unified']);
  assert.deepEqual(cgroup2Mounts(v1), []);
});
