import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PROTOCOL, SCOPE, SERVICE } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes, anyAddress } from '../../../common/address.ts';
import { NODES, PODS, remaining, removeAll, runIn, TwoNodes } from '../../support/network/two-nodes.ts';
import { connect, drops, sendDatagram, serve, stopAll, UDP_PORT } from './echo.ts';

/** The client stands on the underlay, where no program of the pod network runs. */
const CLIENT = { name: 'ul', ips: ['192.168.50.9', 'fd50::9'] } as const;
const LOAD_BALANCER = ['192.168.60.1', 'fd60::1'] as const;
const families = [0, 1] as const;
const [A1, A2, B1] = PODS;
if (A1 === undefined || A2 === undefined || B1 === undefined) throw new Error('three pods');
const [NODE_A, NODE_B] = NODES;
let world: TwoNodes;
const stops: (() => void)[] = [];

before(async () => {
  world = new TwoNodes();
  const [v4, v6] = CLIENT.ips;
  runIn('ul', 'ip', 'addr', 'add', `${v4}/24`, 'dev', 'br0');
  runIn('ul', 'ip', 'addr', 'add', `${v6}/64`, 'dev', 'br0', 'nodad');
  runIn('ul', 'ip', 'route', 'add', `${LOAD_BALANCER[0]}/32`, 'via', NODE_A.ip);
  runIn('ul', 'ip', 'route', 'add', `${LOAD_BALANCER[1]}/128`, 'via', NODE_A.ip6);
  for (const pod of [A2, B1]) stops.push(await serve(pod.name));
});

after(() => {
  for (const stop of stops) stop();
  stopAll();
  world[Symbol.dispose]();
  removeAll();
  assert.deepEqual(remaining(), []);
});

let lastId = 0;

interface Outside {
  /** `node`: a NodePort. */
  readonly at: 'node' | 'balancer';
  readonly port: number;
  readonly backends: readonly (typeof A1)[];
  readonly flags?: number;
  /** Where backends take datagrams. */
  readonly udp?: number;
}

/** The same Service for TCP (8080) and UDP (8081), in both families. */
function publish({ at, port, backends, flags, udp }: Outside): void {
  for (const family of families) {
    for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP]) {
      const id = ++lastId;
      const address = at === 'node' ? anyAddress(family === 0 ? 4 : 6) : addressBytes(LOAD_BALANCER[family]);
      for (const [slot, pod] of backends.entries())
        world.set(
          'a',
          TABLES.backend,
          { serviceId: id, slot },
          {
            address: addressBytes(pod.ips[family] ?? ''),
            port: protocol === PROTOCOL.TCP ? 8080 : (udp ?? UDP_PORT),
          },
        );
      world.set(
        'a',
        TABLES.service,
        { address, port, protocol, scope: SCOPE.EXTERNAL },
        { id, count: backends.length, flags: flags ?? 0, affinityS: 100 },
      );
    }
  }
}

const nodeAddress = (family: 0 | 1) => (family === 0 ? NODE_A.ip : NODE_A.ip6);

for (const [where, pod, port] of [
  ['on that node', A2, 30_001],
  ['on another', B1, 30_002],
] as const) {
  test(`a NodePort leads to a backend ${where}, which sees the client's address`, () => {
    publish({ at: 'node', port, backends: [pod] });
    for (const family of families) {
      const to = nodeAddress(family);
      assert.deepEqual(connect('ul', to, 3, port), [CLIENT.ips[family], '200000']);
      for (const bytes of [0, 1, 100, 4000, 9000]) assert.equal(sendDatagram('ul', to, bytes, port), bytes);
    }
  });

  test(`a load balancer's address leads to a backend ${where}`, () => {
    publish({ at: 'balancer', port, backends: [pod] });
    for (const family of families) {
      assert.deepEqual(connect('ul', LOAD_BALANCER[family], 3, port), [CLIENT.ips[family], '200000']);
      assert.equal(sendDatagram('ul', LOAD_BALANCER[family], 2000, port), 2000);
    }
  });
}

test("the backend's policy holds for clients outside, by their own addresses", () => {
  publish({ at: 'node', port: 30_003, backends: [A2] });
  const set = 21;
  world.know(A2, { ingressSet: set });
  drops(world, 'a');
  for (const family of families) assert.throws(() => connect('ul', nodeAddress(family), 0.5, 30_003));
  const first = drops(world, 'a')[0];
  assert.deepEqual([first?.reason, first?.set, first?.destinationPort], [DROP.POLICY.code, set, 8080]);
  const classOfClient = 0x8000_0005;
  for (const address of CLIENT.ips)
    world.set('a', TABLES.cidr, { bits: 128, address: addressBytes(address) }, classOfClient);
  world.set(
    'a',
    TABLES.policy,
    { bits: 88, set, peer: classOfClient, protocol: PROTOCOL.TCP, port: 8080 },
    1,
  );
  for (const family of families)
    assert.equal(connect('ul', nodeAddress(family), 3, 30_003)[0], CLIENT.ips[family]);
  world.know(A2, { ingressSet: 0 });
});

test('a sticky client gets one backend, others get all', () => {
  publish({ at: 'node', port: 30_004, backends: [A2, B1], flags: SERVICE.AFFINITY });
  publish({ at: 'node', port: 30_005, backends: [A2, B1] });
  const counted = (port: number) => {
    for (let n = 0; n < 12; n++) connect('ul', NODE_A.ip, 3, port);
    const map = world.object('a').map(TABLES.external.name);
    const all = [...map.keys()].filter((key) => key.readUInt16BE(34) === port && key.readUInt8(37) === 0);
    return new Set(all.map((key) => map.lookup(key)?.toString('hex', 0, 16))).size;
  };
  assert.equal(counted(30_004), 1);
  assert.equal(counted(30_005), 2);
});

test('without endpoints clients are refused at once at every address, and the drop is told', () => {
  publish({ at: 'node', port: 30_006, backends: [] });
  publish({ at: 'balancer', port: 30_006, backends: [] });
  drops(world, 'a');
  for (const family of families) {
    for (const to of [nodeAddress(family), LOAD_BALANCER[family]]) {
      // Sooner than a SYN is sent again.
      assert.throws(() => connect('ul', to, 0.9, 30_006), /ConnectionRefusedError/);
      assert.throws(() => sendDatagram('ul', to, 10, 30_006), /ConnectionRefusedError/);
    }
  }
  const told = drops(world, 'a');
  assert.ok(told.length >= 8 && told.every((one) => one.reason === DROP.NO_BACKEND.code));
});

test('a port of UDP that nobody listens on is refused by the backend, through the node', () => {
  publish({ at: 'node', port: 30_007, backends: [A2], udp: 9 });
  publish({ at: 'balancer', port: 30_007, backends: [B1], udp: 9 });
  for (const family of families)
    for (const to of [nodeAddress(family), LOAD_BALANCER[family]])
      assert.throws(() => sendDatagram('ul', to, 10, 30_007), /ConnectionRefusedError/);
});

test('what is no Service is left to the host', () => {
  for (const family of families)
    assert.match(runIn('ul', 'ping', '-c', '1', '-W', '2', nodeAddress(family)), / 0% packet loss/);
  assert.throws(() => connect('ul', NODE_B.ip, 3, 30_001), /ConnectionRefusedError/);
});
