import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { COUNTERS_MAX, IDENTITY, PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressText } from '../../../common/address.ts';
import { NODES, PODS, remaining, removeAll, runIn, TwoNodes } from '../../support/network/two-nodes.ts';
import { eventually } from '../../support/wait.ts';
import { connect, drops, sendDatagram, serve, start, stopAll } from './echo.ts';

let world: TwoNodes;

before(() => {
  world = new TwoNodes();
});

after(() => {
  stopAll();
  world[Symbol.dispose]();
  removeAll();
  assert.deepEqual(remaining(), []);
});

const [A1, A2, B1] = PODS;
if (A1 === undefined || A2 === undefined || B1 === undefined) throw new Error('three pods');
const families = [0, 1] as const;

function closeIngress(set: number): void {
  world.know(A2 ?? never(), { ingressSet: set });
}

function never(): never {
  throw new Error('three pods');
}

test('a pod reaches a pod of its node and of the other, and is seen by its own address', async () => {
  for (const server of [A2, B1]) {
    const stop = await serve(server.name);
    for (const family of families)
      assert.deepEqual(connect('a1', server.ips[family] ?? ''), [A1.ips[family], '200000']);
    stop();
  }
});

test('echoes come back, and datagrams larger than a packet arrive whole', async () => {
  for (const server of [A2, B1]) {
    const stop = await serve(server.name);
    for (const family of families) {
      const ip = server.ips[family] ?? '';
      assert.match(runIn('a1', 'ping', '-c', '2', '-i', '0.2', '-W', '2', ip), / 0% packet loss/);
      for (const bytes of [100, 4000, 9000]) assert.equal(sendDatagram('a1', ip, bytes), bytes);
    }
    stop();
  }
});

test('pods and nodes reach each other without NAT, on either node', async () => {
  const stop = await serve('b1');
  for (const family of families) {
    for (const node of NODES) {
      const seen: string | undefined = connect(node.name, B1.ips[family] ?? '')[0];
      assert.equal(seen, family === 0 ? node.ip : node.ip6);
      assert.match(
        runIn('a1', 'ping', '-c', '1', '-W', '2', family === 0 ? node.ip : node.ip6),
        / 0% packet loss/,
      );
    }
  }
  stop();
});

test('a source address that a pod does not have goes nowhere', () => {
  drops(world, 'a');
  runIn('a1', 'ip', 'addr', 'add', '10.244.9.9/32', 'dev', 'lo');
  assert.throws(() => runIn('a1', 'ping', '-c', '1', '-W', '1', '-I', '10.244.9.9', A2.ips[0] ?? ''));
  runIn('a1', 'ip', 'addr', 'del', '10.244.9.9/32', 'dev', 'lo');
  const spoofed = drops(world, 'a').filter((one) => addressText(one.source) === '10.244.9.9');
  assert.ok(spoofed.length > 0 && spoofed.every((one) => one.reason === DROP.SPOOFED.code));
});

test('an address of a pod block that nobody has is told as such', () => {
  drops(world, 'a');
  assert.throws(() => runIn('a1', 'ping', '-c', '1', '-W', '1', '10.244.1.200'));
  const lost = drops(world, 'a').filter((one) => addressText(one.destination) === '10.244.1.200');
  assert.ok(lost.length > 0 && lost.every((one) => one.reason === DROP.NO_ROUTE.code));
});

test('an isolated pod is reached by whom its set allows, on the ports that it allows, and a drop is told whole', async () => {
  const stop = await serve('a2');
  const set = 7;
  closeIngress(set);
  drops(world, 'a');
  for (const family of families) assert.throws(() => connect('a1', A2.ips[family] ?? '', 0.5));
  const first = drops(world, 'a').find((one) => one.set === set);
  assert.deepEqual(
    [first?.reason, first?.set, first?.destinationPort, first?.protocol, first?.direction],
    [DROP.POLICY.code, set, 8080, PROTOCOL.TCP, 0],
  );
  const allow = (peer: number, protocol: number, port: number, bits: number) =>
    world.set('a', TABLES.policy, { bits, set, peer, protocol, port }, 1);
  allow(A1.identity, PROTOCOL.TCP, 8080, 88);
  for (const family of families) {
    assert.equal(connect('a1', A2.ips[family] ?? '')[0], A1.ips[family]);
    assert.throws(() => connect('b1', A2.ips[family] ?? '', 0.5));
    assert.throws(() => runIn('a1', 'ping', '-c', '1', '-W', '1', A2.ips[family] ?? ''));
  }
  allow(IDENTITY.ANY, PROTOCOL.TCP, 0, 72);
  for (const family of families) assert.equal(connect('b1', A2.ips[family] ?? '')[0], B1.ips[family]);
  closeIngress(0);
  stop();
});

test('what an isolated pod asks for comes back to it, and its node always reaches it', async () => {
  const stopB = await serve('b1');
  const stopA = await serve('a2');
  closeIngress(8);
  for (const family of families) {
    assert.equal(connect('a2', B1.ips[family] ?? '')[0], A2.ips[family]);
    assert.equal(connect('a', A2.ips[family] ?? '')[0], family === 0 ? NODES[0].ip : NODES[0].ip6);
  }
  closeIngress(0);
  stopA();
  stopB();
});

test('a new policy cuts connections that it no longer allows', async () => {
  const stop = await serve('a2');
  const script = `
import socket, sys, time
s = socket.create_connection(('${A2.ips[0]}', 8080), timeout=3); s.recv(100)
print('open', flush=True); sys.stdin.readline()
s.settimeout(1.5); s.sendall(b'z')
try: s.recv(1); print('alive', flush=True)
except TimeoutError: print('cut', flush=True)
`;
  const { said, stop: end, tell } = start('a1', 'python3', '-c', script);
  await eventually(() => said.text.includes('open'), { deadlineMs: 5_000, what: 'the connection is open' });
  closeIngress(9);
  tell('');
  await eventually(() => /alive|cut/.test(said.text), {
    deadlineMs: 5_000,
    what: 'the client has an answer',
  });
  assert.match(said.text, /cut/);
  closeIngress(0);
  end();
  stop();
});

test('what is forwarded and what is dropped is counted', () => {
  const map = world.object('a').map(TABLES.counter.name);
  const sum = (slot: number) => {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(slot);
    return (map.lookupPerCpu(key) ?? []).reduce((all, bytes) => all + Number(bytes.readBigUInt64LE(0)), 0);
  };
  assert.ok(sum(0) > 0 && sum(1) > 0);
  assert.ok(sum(DROP.POLICY.code * 2) > 0);
  assert.equal(sum(COUNTERS_MAX - 1), 0);
});
