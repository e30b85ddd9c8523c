import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupV2Path, listenersIn, unlessGone } from './sidecar-processes.ts';

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';

function line(local: string, state: string, uid: number, inode: number): string {
  return `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0000 100 0 0 10 0`;
}

test('listeners are those of the sidecar user on its ports, at loopback or everywhere', () => {
  const table = [
    HEAD,
    line('0100007F:3A99', '0A', 1337, 11),
    line('00000000:3A9E', '0A', 1337, 12),
    line('00000000000000000000000001000000:3A99', '0A', 1337, 13),
    line('00000000000000000000000000000000:3A9E', '0A', 1337, 14),
    '',
  ].join('\n');
  assert.deepEqual(listenersIn(table), [
    { port: 15001, families: [4], inode: 11 },
    { port: 15006, families: [4], inode: 12 },
    { port: 15001, families: [6], inode: 13 },
    { port: 15006, families: [4, 6], inode: 14 },
  ]);
});

test('connections, other users, ports and addresses are left out, as is a table that breaks off', () => {
  const table = [
    HEAD,
    line('0100007F:3A99', '01', 1337, 11),
    line('0100007F:3A99', '0A', 0, 12),
    line('0100007F:1F90', '0A', 1337, 13),
    line('0B07F40A:3A99', '0A', 1337, 14),
    '   5: 0100007F:3A99 0000',
  ].join('\n');
  assert.deepEqual(listenersIn(table), []);
  assert.deepEqual(listenersIn(''), []);
});

test('the cgroup is that of version 2, and never the root that all share', () => {
  const hybrid = '3:cpu:/kubepods/x\n1:name=systemd:/init\n0::/kubepods.slice/cri-containerd-1.scope\n';
  assert.equal(cgroupV2Path(hybrid), '/kubepods.slice/cri-containerd-1.scope');
  assert.equal(cgroupV2Path('3:cpu:/x\n0::/\n'), undefined);
  assert.equal(cgroupV2Path('0::/x (deleted)\n'), undefined);
  assert.equal(cgroupV2Path('3:cpu:/x\n'), undefined);
});

test('what is gone is undefined, what is wrong is thrown', () => {
  const failing = (code: string) => () => {
    throw Object.assign(new Error(code), { code });
  };
  for (const code of ['ENOENT', 'ESRCH', 'EBADF']) assert.equal(unlessGone(failing(code)), undefined);
  assert.throws(() => unlessGone(failing('EPERM')), { code: 'EPERM' });
});
