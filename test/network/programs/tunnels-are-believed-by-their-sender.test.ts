import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { EP, EXTERNAL, IDENTITY, PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes, addressText, noAddress, parsePrefix } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, datagram, ethernet } from '../packets/craft.ts';
import { type Family, HOSTS, type Outcome, VERDICT } from '../packets/datapath.ts';
import { reset, World } from './entrances.ts';
import { type Outer, VNI } from './overlay.ts';

leakCheck();
let world: World;
/** The same node where the underlay routes pods, and the tunnel is for clients outside alone. */
let direct: World;
before(() => {
  world = new World();
  direct = new World(0);
});
after(() => {
  world[Symbol.dispose]();
  direct[Symbol.dispose]();
});
beforeEach(() => {
  reset(world);
  reset(direct);
});

type Host = keyof typeof HOSTS;
const families = [4, 6] as const;
const spoofed = [VERDICT.DROP, [DROP.SPOOFED.code]] as const;
const lost = [VERDICT.DROP, [DROP.NO_ROUTE.code]] as const;
const theOtherNode = { from: HOSTS.otherNode[4], vni: VNI.PODS };
const external = { ...theOtherNode, vni: VNI.EXTERNAL };

function packet(from: Host, to: Host, family: Family, more: Partial<Crafted> = {}): Crafted {
  const ports = { sourcePort: 40_001, destinationPort: 8080 };
  return { from: HOSTS[from][family], to: HOSTS[to][family], protocol: PROTOCOL.TCP, ...ports, ...more };
}

function arrives(inner: Crafted | Buffer, outer: Outer = theOtherNode): Outcome {
  return world.overlay.run('from_overlay', inner, outer);
}

function outcome({ verdict, drops }: Outcome): readonly [number, readonly number[]] {
  return [verdict, drops.map((one) => one.reason)];
}

for (const family of families)
  describe(`from_overlay: IPv${family}`, () => {
    it('a pod of the node that sent the outer packet reaches a pod here, by its device, without a mark', () => {
      const done = world.overlay.run('from_overlay', packet('remote', 'b', family), theOtherNode, {
        mark: 7,
      });
      assert.deepEqual(outcome(done), [VERDICT.REDIRECT, []]);
      assert.equal(done.bytes.toString('hex', 0, 12), '02000000000beeeeeeeeeeee');
      assert.deepEqual(done.bytes.subarray(14), datagram(packet('remote', 'b', family)));
      assert.equal(done.mark, 0);
    });

    it("this node's own address gets what other nodes' pods send it", () => {
      const done = arrives(packet('remote', 'node', family));
      assert.deepEqual([outcome(done), done.counted], [[VERDICT.OK, []], ['forwarded ingress']]);
    });

    it('an outer source that is not the node of the inner one is not believed', () => {
      const outers = ['192.168.50.3', HOSTS.node[4], 'fd50::2', '2001:db8::2', '0.0.0.0'];
      for (const from of outers)
        assert.deepEqual(
          outcome(arrives(packet('remote', 'b', family), { from, vni: VNI.PODS })),
          spoofed,
          from,
        );
    });

    it('an inner source that the node cannot have is not believed', () => {
      const froms: readonly Host[] = ['a', 'nobody', 'node', 'client', 'dns'];
      for (const from of froms) assert.deepEqual(outcome(arrives(packet(from, 'b', family))), spoofed, from);
    });

    it('a VNI that is none of ours is not believed', () => {
      for (const vni of [0, 3, 0xff_ffff])
        assert.deepEqual(outcome(arrives(packet('remote', 'b', family), { ...theOtherNode, vni })), spoofed);
    });

    it('a node of IPv6 is known by its address as well', () => {
      const at = addressBytes(HOSTS.otherNode[6]);
      world.path.know('remote', { node: at, identity: 102 });
      const inner = packet('remote', 'b', family);
      const outer = { from: HOSTS.otherNode[6], vni: VNI.PODS };
      assert.deepEqual(outcome(arrives(inner, outer)), [VERDICT.REDIRECT, []]);
      assert.deepEqual(outcome(arrives(inner)), spoofed);
    });

    it('where the underlay routes pods, none of their packets is believed that came by the tunnel', () => {
      for (const to of ['b', 'node'] as const) {
        const done = direct.overlay.run('from_overlay', packet('remote', to, family), theOtherNode);
        assert.deepEqual(outcome(done), spoofed, to);
      }
      const outside = direct.overlay.run('from_overlay', packet('client', 'b', family), external);
      assert.deepEqual(outcome(outside), [VERDICT.REDIRECT, []]);
      const reply = packet('b', 'client', family, { sourcePort: 8080, destinationPort: 40_001, flags: 0x12 });
      assert.deepEqual(outcome(direct.fromPod('b', reply)), [VERDICT.REDIRECT, []], 'back by the tunnel');
    });

    it('what belongs to another node, or to nobody, goes no further', () => {
      for (const to of ['unknown', 'nobody', 'client', 'otherNode'] as const)
        assert.deepEqual(outcome(arrives(packet('remote', to, family))), lost, to);
    });

    it('what cannot be read, or has no outer header, is dropped', () => {
      const bytes = datagram(packet('remote', 'b', family));
      const arp = arrives(ethernet(bytes, 0x0806));
      assert.deepEqual(outcome(arp), [VERDICT.DROP, [DROP.UNSUPPORTED.code]]);
      bytes.writeUInt8(0x55, 0);
      const kind = family === 4 ? 0x0800 : 0x86dd;
      assert.deepEqual(outcome(arrives(ethernet(bytes, kind))), [VERDICT.DROP, [DROP.MALFORMED.code]]);
      const bare = world.path.run('from_overlay', packet('remote', 'b', family));
      assert.deepEqual(outcome(bare), [VERDICT.DROP, [DROP.INTERNAL.code]]);
    });

    it('a client outside, by VNI 2, reaches its backend here, and the way back is remembered', () => {
      const done = arrives(packet('client', 'b', family), external);
      assert.deepEqual(outcome(done), [VERDICT.REDIRECT, []]);
      const [[key, value] = []] = world.path.entries(TABLES.external);
      assert.ok(key !== undefined && value !== undefined);
      assert.deepEqual(
        [addressText(key.source), addressText(key.destination), key.sourcePort, key.destinationPort, key.way],
        [HOSTS.b[family], HOSTS.client[family], 8080, 40_001, EXTERNAL.REPLY],
      );
      assert.equal(addressText(value.node), HOSTS.otherNode[4]);
      const [[, connection] = []] = world.path.entries(TABLES.connection);
      assert.equal(connection?.peer, IDENTITY.WORLD);
      const reply = packet('b', 'client', family, { sourcePort: 8080, destinationPort: 40_001 });
      const sent = world.fromPod('b', { ...reply, flags: 0x12 });
      assert.deepEqual(outcome(sent), [VERDICT.REDIRECT, []], 'by the tunnel, to the node it came in by');
      assert.deepEqual(sent.bytes.subarray(14), datagram({ ...reply, flags: 0x12 }), 'as it was sent');
    });

    it("the backend's policy holds for a client outside", () => {
      world.path.isolate('b', { ingressSet: 71 });
      const denied = arrives(packet('client', 'b', family), external);
      assert.deepEqual(outcome(denied), [VERDICT.DROP, [DROP.POLICY.code]]);
      world.path.set(
        TABLES.cidr,
        parsePrefix(`${HOSTS.client[family]}/${family === 4 ? 32 : 128}`),
        0x8000_0009,
      );
      world.path.allow({ set: 71, peer: 0x8000_0009, protocol: PROTOCOL.TCP, port: 8080 });
      assert.deepEqual(outcome(arrives(packet('client', 'b', family), external)), [VERDICT.REDIRECT, []]);
    });

    it('by VNI 2 only a node speaks, for nobody but clients outside and its own pods', () => {
      const inner = packet('client', 'b', family);
      for (const from of ['192.168.50.3', HOSTS.node[4], HOSTS.remote[4]])
        assert.deepEqual(outcome(arrives(inner, { from, vni: VNI.EXTERNAL })), spoofed, from);
      for (const from of ['a', 'node', 'nobody'] as const)
        assert.deepEqual(outcome(arrives(packet(from, 'b', family), external)), spoofed, from);
      for (const to of ['node', 'unknown', 'client'] as const)
        assert.deepEqual(outcome(arrives(packet('client', to, family), external)), lost, to);
      assert.deepEqual(
        outcome(arrives(packet('remote', 'client', family), external)),
        lost,
        'an answer to nothing',
      );
    });
  });

for (const family of families)
  describe(`to_overlay: IPv${family}`, () => {
    const leaves = (inner: Crafted | Buffer) => world.path.run('to_overlay', inner);

    it("what the host sends to another node's pods gets its way, known or not", () => {
      for (const to of ['remote', 'unknown', 'otherNode'] as const) {
        const done = leaves(packet('node', to, family));
        assert.deepEqual(outcome(done), [VERDICT.OK, []], to);
        assert.deepEqual(done.bytes.subarray(14), datagram(packet('node', to, family)));
      }
    });

    it('what has its way already is left as it is', () => {
      const done = world.overlay.run('to_overlay', packet('client', 'nobody', family), external);
      assert.deepEqual(outcome(done), [VERDICT.OK, []]);
    });

    it('where the underlay routes pods nothing of the host leaves by the tunnel', () => {
      const done = direct.path.run('to_overlay', packet('node', 'remote', family));
      assert.deepEqual(outcome(done), lost);
      const answer = direct.overlay.run('to_overlay', packet('client', 'nobody', family), external);
      assert.deepEqual(outcome(answer), [VERDICT.OK, []]);
    });

    it('what no other node has goes nowhere, and is told', () => {
      for (const to of ['nobody', 'b', 'node', 'client'] as const) {
        const done = leaves(packet('node', to, family));
        assert.deepEqual(outcome(done), lost, to);
        assert.equal(addressText(done.drops[0]?.destination ?? noAddress()), HOSTS[to][family]);
        assert.deepEqual(done.counted, ['no-route egress']);
      }
    });

    it('what cannot be read is dropped', () => {
      const bytes = datagram(packet('node', 'remote', family));
      assert.equal(leaves(ethernet(bytes, 0x0806)).verdict, VERDICT.DROP);
      // The kernel refuses test runs of less than an IP header.
      const cut = ethernet(bytes.subarray(0, family === 4 ? 30 : 50), family === 4 ? 0x0800 : 0x86dd);
      assert.deepEqual(outcome(leaves(cut)), [VERDICT.DROP, [DROP.MALFORMED.code]]);
    });

    it('a node known by IPv6 is reached by it', () => {
      world.path.know('otherNode', {
        ...{ flags: EP.OTHER_NODE, identity: IDENTITY.OTHER_NODE, node: addressBytes(HOSTS.otherNode[6]) },
      });
      assert.deepEqual(outcome(leaves(packet('node', 'otherNode', family))), [VERDICT.OK, []]);
      world.path.know('otherNode', {
        ...{ flags: EP.OTHER_NODE, identity: IDENTITY.OTHER_NODE, node: addressBytes(HOSTS.otherNode[4]) },
      });
    });
  });
