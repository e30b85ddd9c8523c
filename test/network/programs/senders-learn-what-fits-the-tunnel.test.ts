import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { noAddress } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, datagram, fragments, icmpError, TCP } from '../packets/craft.ts';
import { type Family, HOSTS, IFINDEX, type Outcome, TUNNEL_MTU, VERDICT } from '../packets/datapath.ts';
import { reset, World } from './entrances.ts';
import { asks, families, got, outcome, publishIn, toThisHost, turned } from './outside.ts';
import { VNI } from './overlay.ts';

leakCheck();
/** Nodes with a tunnel for all pods, and with one for clients outside alone: the same holds on both. */
const worlds: World[] = [];
before(() => {
  worlds.push(new World(), new World(0));
});
after(() => {
  for (const world of worlds) world[Symbol.dispose]();
});
beforeEach(() => {
  for (const world of worlds) {
    reset(world);
    world.path.clear(TABLES.service, TABLES.backend);
  }
});

const protocols = [PROTOCOL.TCP, PROTOCOL.UDP] as const;
const headerBytes = { 4: 20, 6: 40 } as const;
const errorBytesMax = { 4: 576, 6: 1280 } as const;
const passes = [VERDICT.REDIRECT, []] as const;

/** Exactly `bytes` of IP. */
function sized(packet: Crafted, family: Family, bytes: number): Crafted {
  const own = headerBytes[family] + (packet.protocol === PROTOCOL.TCP ? 20 : 8);
  return { ...packet, payload: Buffer.alloc(bytes - own, 5), dontFragment: true };
}

/** What the sender of a packet is told by `from`. */
function tooBig(from: string, packet: Crafted, family: Family, mtu = TUNNEL_MTU): Crafted {
  const quoted = errorBytesMax[family] - headerBytes[family] - 8;
  return { ...icmpError(from, packet, 'too big', quoted, mtu), dontFragment: true };
}

function assertTold(done: Outcome, as: Crafted, direction: string): void {
  assert.deepEqual(outcome(done), [VERDICT.REDIRECT, [DROP.TOO_BIG.code]]);
  assert.deepEqual(done.counted, [`too-big ${direction}`]);
  assert.equal(done.bytes.toString('hex', 14), datagram(as).toString('hex'));
  assert.equal(done.mark, 0);
}

/** A pod's answer to a client that came in by the other node. */
function answerOf(world: World, family: Family, protocol: number): Crafted {
  const ports = { sourcePort: 50_001, destinationPort: 8080 };
  const asked = { from: HOSTS.client[family], to: HOSTS.b[family], protocol, ...ports };
  const outer = { from: HOSTS.otherNode[4], vni: VNI.EXTERNAL };
  assert.deepEqual(outcome(world.overlay.run('from_overlay', asked, outer)), passes);
  return turned(asked, { flags: TCP.ACK });
}

for (const family of families)
  for (const protocol of protocols)
    describe(`too large for the tunnel: IPv${family}, protocol ${protocol}`, () => {
      it('a client outside is told by whom it asked', () => {
        for (const world of worlds) {
          publishIn(world, family, { at: 'balancer', protocol, backends: [['remote', 8080]] });
          const asked = asks(family, 'balancer', { protocol });
          const fits = sized(asked, family, TUNNEL_MTU);
          const done = world.fromUplink(toThisHost(fits));
          assert.deepEqual(outcome(done), passes);
          assert.deepEqual(done.bytes.subarray(14), datagram(got(fits, 'remote', family)));
          const large = sized({ ...asked, flags: TCP.ACK }, family, TUNNEL_MTU + 1);
          const told = world.path.run('from_uplink', toThisHost(large), { mark: 3 });
          assertTold(told, tooBig(asked.to, large, family), 'ingress');
          world.path.clear(TABLES.external);
          const first = sized({ ...asked, sourcePort: 50_002 }, family, 1500);
          assertTold(world.fromUplink(toThisHost(first)), tooBig(asked.to, first, family), 'ingress');
        }
      });

      it('a client of a backend here may send as much as it likes', () => {
        for (const world of worlds) {
          publishIn(world, family, { at: 'balancer', protocol, backends: [['b', 8080]] });
          const large = sized(asks(family, 'balancer', { protocol }), family, 1500);
          assert.deepEqual(outcome(world.fromUplink(toThisHost(large))), passes);
        }
      });

      it('a pod that answers through the tunnel is told by its node', () => {
        for (const world of worlds) {
          const answer = answerOf(world, family, protocol);
          assert.deepEqual(outcome(world.fromPod('b', sized(answer, family, TUNNEL_MTU))), passes);
          const large = sized(answer, family, TUNNEL_MTU + 1);
          const told = world.fromPod('b', large);
          assertTold(told, tooBig(HOSTS.node[family], large, family), 'egress');
          assert.equal(told.bytes.toString('hex', 0, 12), '02000000000beeeeeeeeeeee');
          world.path.configure({ node4: noAddress(), ...(world === worlds[1] ? { flags: 0 } : {}) });
          if (family === 4) assertTold(world.fromPod('b', large), tooBig(large.to, large, 4), 'egress');
          world.path.configure(world === worlds[1] ? { flags: 0 } : {});
        }
      });

      it('of what the kernel joined each segment counts', () => {
        for (const world of worlds) {
          const answer = sized(answerOf(world, family, protocol), family, 3000);
          const options = { ifindex: IFINDEX.b };
          const room = TUNNEL_MTU - headerBytes[family] - (protocol === PROTOCOL.TCP ? 20 : 8);
          const run = (gsoBytes: number) => world.path.run('from_pod', answer, { ...options, gsoBytes });
          assert.deepEqual(outcome(run(room)), passes);
          assert.deepEqual(outcome(run(room + 1)), [VERDICT.REDIRECT, [DROP.TOO_BIG.code]]);
        }
      });

      it('fragments go on, to be fragmented once more outside', () => {
        if (protocol === PROTOCOL.TCP) return;
        for (const world of worlds) {
          publishIn(world, family, { at: 'balancer', protocol, backends: [['remote', 8080]] });
          const whole: Crafted = {
            ...asks(family, 'balancer', { protocol }),
            payload: Buffer.alloc(3000, 1),
          };
          for (const part of fragments(whole, 1448, 9))
            assert.deepEqual(outcome(world.fromUplink(toThisHost(part))), passes);
        }
      });
    });

describe('too large for the tunnel', () => {
  it('IPv4 that may be fragmented on the way is, outside', () => {
    for (const world of worlds) {
      publishIn(world, 4, { at: 'balancer', protocol: PROTOCOL.UDP, backends: [['remote', 8080]] });
      const asked = sized(asks(4, 'balancer', { protocol: PROTOCOL.UDP }), 4, 1500);
      assert.deepEqual(outcome(world.fromUplink(toThisHost({ ...asked, dontFragment: false }))), passes);
    }
  });

  it('IPv6 is never told to keep to less than every link carries', () => {
    for (const world of worlds) {
      const flags = world === worlds[1] ? { flags: 0 } : {};
      world.path.configure({ ...flags, tunnelMtu: 1250 });
      publishIn(world, 6, { at: 'balancer', protocol: PROTOCOL.UDP, backends: [['remote', 8080]] });
      const asked = asks(6, 'balancer', { protocol: PROTOCOL.UDP });
      assert.deepEqual(outcome(world.fromUplink(toThisHost(sized(asked, 6, 1280)))), passes);
      const large = sized(asked, 6, 1281);
      assertTold(world.fromUplink(toThisHost(large)), tooBig(asked.to, large, 6, 1280), 'ingress');
      world.path.configure(flags);
    }
  });

  it('nobody is told who must not be answered', () => {
    const [world] = worlds;
    assert.ok(world !== undefined);
    publishIn(world, 4, { at: 'balancer', protocol: PROTOCOL.UDP, backends: [['remote', 8080]] });
    const asked = asks(4, 'balancer', { protocol: PROTOCOL.UDP, from: '224.0.0.1' });
    const done = world.fromUplink(toThisHost(sized(asked, 4, 1500)));
    assert.deepEqual(outcome(done), [VERDICT.DROP, [DROP.TOO_BIG.code]]);
  });
});
