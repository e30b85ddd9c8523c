import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type BpfObject, openObject } from '../../../cni/kernel/libbpf.ts';
import { DIRECTION, PROTOCOL } from '../../../cni/maps/constants.ts';
import { encode } from '../../../cni/maps/struct.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { compileBpf } from '../../support/network/compile-bpf.ts';

leakCheck();

const OBJECT = fileURLToPath(new URL('../../../cni/bpf/objects/steer.o', import.meta.url));
const variant = compileBpf(fileURLToPath(new URL('fixtures/steer-from-lo.c', import.meta.url)));
const POD_ID = 7;
const OWN4 = '10.244.7.11';
const OWN6 = 'fd10:7::11';
const CLIENT = { 4: '10.244.7.99', 6: 'fd10:7::99' } as const;
const [SK_DROP, SK_PASS] = [0, 1];
const [AF_INET, AF_INET6] = [2, 10];

interface Arrival {
  readonly to: string;
  readonly port: number;
  /** Packets on lo come from within the pod. */
  readonly device: 'lo' | 'eth0';
  readonly protocol?: number;
}

/** `struct bpf_sk_lookup` of linux/bpf.h; its device must be zero in a test run. */
function contextOf({ to, port, protocol }: Arrival): Buffer {
  const bytes = Buffer.alloc(72);
  const six = to.includes(':');
  const put = (address: string, at4: number, at6: number) => {
    const all = addressBytes(address);
    if (six) all.copy(bytes, at6);
    else all.copy(bytes, at4, 12);
  };
  bytes.writeUInt32LE(six ? AF_INET6 : AF_INET, 8);
  bytes.writeUInt32LE(protocol ?? PROTOCOL.TCP, 12);
  put(six ? CLIENT[6] : CLIENT[4], 16, 20);
  bytes.writeUInt16BE(40_000, 36);
  put(to, 40, 44);
  bytes.writeUInt32LE(port, 60);
  return bytes;
}

/** What becomes of an arrival: left to the pod's own sockets, or steered to one of the sidecar's two ports. */
describe('steer', () => {
  let object: BpfObject;
  /** The same rules where no device means lo. */
  let fromLo: BpfObject;
  const servers: net.Server[] = [];

  before(async () => {
    const id = Buffer.alloc(4);
    id.writeUInt32LE(POD_ID);
    const constants = { pod_id: id, ip4: addressBytes(OWN4), ip6: addressBytes(OWN6) };
    const open = openObject(OBJECT).setRodata(constants);
    for (const map of ['connection_map', 'fragment_map', 'external_map', 'translated_map', 'affinity_map'])
      open.setMaxEntries(map, 4096);
    object = open.load();
    fromLo = openObject(variant).setRodata(constants).reuseMaps(object.maps).load();
    for (const host of ['127.0.0.1', '::1']) {
      const server = net.createServer();
      server.listen({ host, port: 0 });
      await once(server, 'listening');
      servers.push(server);
    }
  });
  after(() => {
    for (const server of servers) server.close();
    object[Symbol.dispose]();
    fromLo[Symbol.dispose]();
  });

  function run(arrival: Arrival): number {
    const { device } = arrival;
    return (device === 'lo' ? fromLo : object).program('steer').testRun({ context: contextOf(arrival) })
      .returned;
  }

  /** Registers this process's own socket, for as long as `task` takes. */
  function withListener<T>(port: number, family: 4 | 6, task: () => T, socketFamily: 4 | 6 = family): T {
    const key = encode(TABLES.listener.key, { podId: POD_ID, port, family });
    const handle = (
      servers[socketFamily === 4 ? 0 : 1] as unknown as { readonly _handle: { readonly fd: number } }
    )._handle;
    object.map('listener_map').updateSocket(key, handle.fd);
    try {
      return task();
    } finally {
      object.map('listener_map').delete(key);
    }
  }

  function outcome(arrival: Arrival): 'left' | 'outbound' | 'inbound' {
    const family = arrival.to.includes(':') ? 6 : 4;
    if (run(arrival) === SK_PASS) return 'left';
    const takes = [15001, 15006].filter((port) => withListener(port, family, () => run(arrival)) === SK_PASS);
    assert.equal(takes.length, 1, `${JSON.stringify(arrival)} goes to ${takes}`);
    return takes[0] === 15001 ? 'outbound' : 'inbound';
  }

  const cases: readonly (readonly [string, Arrival, 'left' | 'outbound' | 'inbound'])[] = [
    ['out to another pod', { to: '10.244.7.12', port: 80, device: 'lo' }, 'outbound'],
    ['out to another pod by IPv6', { to: 'fd10:7::12', port: 80, device: 'lo' }, 'outbound'],
    [
      'out to a port that is the sidecar’s own here',
      { to: '10.244.7.12', port: 15020, device: 'lo' },
      'outbound',
    ],
    ['loopback', { to: '127.0.0.1', port: 80, device: 'lo' }, 'left'],
    ['all of 127.0.0.0/8', { to: '127.200.0.1', port: 80, device: 'lo' }, 'left'],
    ['loopback by IPv6', { to: '::1', port: 80, device: 'lo' }, 'left'],
    ['its own address', { to: OWN4, port: 80, device: 'lo' }, 'left'],
    ['its own address by IPv6', { to: OWN6, port: 80, device: 'lo' }, 'left'],
    ['its own link-local address', { to: 'fe80::5', port: 80, device: 'lo' }, 'left'],
    ['an address that begins as its own', { to: 'fd10:7::12:11', port: 80, device: 'lo' }, 'outbound'],
    ['in', { to: OWN4, port: 80, device: 'eth0' }, 'inbound'],
    ['in by IPv6', { to: OWN6, port: 80, device: 'eth0' }, 'inbound'],
    ['in to the sidecar’s outbound port', { to: OWN4, port: 15001, device: 'eth0' }, 'inbound'],
    ['in to the sidecar’s inbound port', { to: OWN4, port: 15006, device: 'eth0' }, 'inbound'],
    ['in to the control plane’s port', { to: OWN4, port: 15009, device: 'eth0' }, 'left'],
    ['in to the metrics', { to: OWN6, port: 15020, device: 'eth0' }, 'left'],
    ['in to the health port', { to: OWN4, port: 15021, device: 'eth0' }, 'left'],
    ['UDP out', { to: '10.244.7.12', port: 80, device: 'lo', protocol: PROTOCOL.UDP }, 'left'],
    ['UDP in', { to: OWN4, port: 80, device: 'eth0', protocol: PROTOCOL.UDP }, 'left'],
  ];
  for (const [name, arrival, wanted] of cases)
    it(`${name}: ${wanted}`, () => assert.equal(outcome(arrival), wanted));

  it('leaves ports alone that this pod skips inbound, and only those', () => {
    const skip = (podId: number, port: number, direction: number) =>
      object
        .map('skipped_port_map')
        .update(encode(TABLES.skippedPort.key, { podId, port, direction }), Buffer.from([1]));
    skip(POD_ID, 9090, DIRECTION.INGRESS);
    skip(POD_ID, 9091, DIRECTION.EGRESS);
    skip(POD_ID + 1, 9092, DIRECTION.INGRESS);
    assert.equal(outcome({ to: OWN4, port: 9090, device: 'eth0' }), 'left');
    assert.equal(outcome({ to: OWN4, port: 9090, device: 'lo' }), 'left');
    assert.equal(outcome({ to: '10.244.7.12', port: 9090, device: 'lo' }), 'outbound');
    assert.equal(outcome({ to: OWN4, port: 9091, device: 'eth0' }), 'inbound');
    assert.equal(outcome({ to: OWN4, port: 9092, device: 'eth0' }), 'inbound');
  });

  it('refuses what has no listener, or one that cannot take it', () => {
    assert.equal(run({ to: OWN4, port: 80, device: 'eth0' }), SK_DROP);
    const other = () => run({ to: OWN4, port: 80, device: 'eth0' });
    assert.equal(withListener(15006, 6, other), SK_DROP, 'a listener for IPv6 only');
    assert.equal(
      withListener(15006, 6, () => run({ to: OWN6, port: 80, device: 'eth0' }), 4),
      SK_DROP,
      'a socket of IPv4 where one of IPv6 should stand',
    );
  });
});
