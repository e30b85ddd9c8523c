import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CNI_VERSIONS, readResult, writeResult } from './versions.ts';

const RESULT = {
  interfaces: [
    { name: 'heddle1', mac: 'ee:ee:ee:ee:ee:ee', mtu: 1450 },
    { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1450, sandbox: '/run/netns/x' },
  ],
  ips: [
    { address: '10.244.1.2/32', gateway: '169.254.1.1', interface: 1 },
    { address: 'fd10:244::2/128', interface: 1 },
  ],
  routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1', mtu: 1450 }],
  dns: { nameservers: ['10.96.0.10'] },
};

test('1.1.0 has everything', () => {
  assert.deepEqual(writeResult('1.1.0', RESULT), { cniVersion: '1.1.0', ...RESULT });
});

test('before 1.1.0 nothing has an MTU, and before 1.0.0 addresses say their family', () => {
  const without = {
    interfaces: RESULT.interfaces.map(({ mtu: _, ...rest }) => rest),
    routes: [{ dst: '0.0.0.0/0', gw: '169.254.1.1' }],
    dns: RESULT.dns,
  };
  assert.deepEqual(writeResult('1.0.0', RESULT), { cniVersion: '1.0.0', ...without, ips: RESULT.ips });
  const ips = [
    { version: '4', ...RESULT.ips[0] },
    { version: '6', ...RESULT.ips[1] },
  ];
  for (const version of ['0.3.1', '0.4.0'] as const)
    assert.deepEqual(writeResult(version, RESULT), { cniVersion: version, ...without, ips });
});

test('a result is read as it was written, in every version', () => {
  for (const version of CNI_VERSIONS) {
    const written = writeResult(version, RESULT);
    assert.deepEqual(writeResult(version, readResult(written)), written);
  }
});

test('what Go writes of nothing is nothing', () => {
  assert.deepEqual(readResult({ interfaces: null, ips: null }), { interfaces: [], ips: [], routes: [] });
});
