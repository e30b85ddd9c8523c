import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { CONNECTION, DIRECTION, EP, IDENTITY, NODE, PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, TCP } from '../packets/craft.ts';
import { type Family, HOSTS, IDENTITIES, IFINDEX, type Outcome, VERDICT } from '../packets/datapath.ts';
import { reset, World } from './entrances.ts';

leakCheck();
let world: World;
/** The same node where the underlay routes pods. */
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

const SET = 51;
const families = [4, 6] as const;
type Host = keyof typeof HOSTS;

function packet(from: Host, to: Host, family: Family, more: Partial<Crafted> = {}): Crafted {
  const ports = { sourcePort: 40_001, destinationPort: 8080 };
  return { from: HOSTS[from][family], to: HOSTS[to][family], protocol: PROTOCOL.TCP, ...ports, ...more };
}

function outcome({ verdict, drops }: Outcome): readonly [number, readonly number[]] {
  return [verdict, drops.map((one) => one.reason)];
}

function peers(of: World): readonly number[] {
  return of.path.entries(TABLES.connection).map(([, { peer }]) => peer);
}

const held = [VERDICT.DROP, [DROP.PEER_UNKNOWN.code]] as const;

for (const family of families) {
  describe(`by IPv${family}`, () => {
    it('its own node is always admitted, and nothing is remembered of it', () => {
      world.path.isolate('b', { ingressSet: SET, egressSet: SET });
      const ways = [
        world.toPod(packet('node', 'b', family)),
        world.fromPod('b', packet('b', 'node', family)),
      ];
      for (const done of ways) assert.deepEqual(outcome(done), [VERDICT.OK, []]);
      assert.deepEqual(peers(world), []);
      assert.deepEqual(
        ways.map((done) => done.counted),
        [['forwarded ingress'], ['forwarded egress']],
      );
    });

    it('another node is a peer like others', () => {
      world.path.isolate('b', { ingressSet: SET });
      const arrived = packet('otherNode', 'b', family);
      assert.deepEqual(outcome(world.fromOtherNode(arrived)), [VERDICT.DROP, [DROP.POLICY.code]]);
      const rule = { set: SET, protocol: PROTOCOL.TCP, port: 8080 };
      world.path.allow({ ...rule, peer: IDENTITY.OTHER_NODE });
      assert.deepEqual(outcome(world.fromOtherNode(arrived)), [VERDICT.REDIRECT, []]);
      assert.deepEqual(peers(world), [IDENTITY.OTHER_NODE]);
    });

    it('a pod that nobody has told of is held back where policy isolates, and told as such', () => {
      const arrived = packet('unknown', 'b', family);
      const left = packet('b', 'unknown', family);
      assert.deepEqual(outcome(world.toPod(arrived)), [VERDICT.OK, []]);
      assert.deepEqual(outcome(world.fromOtherNode(arrived)), [VERDICT.REDIRECT, []]);
      assert.deepEqual(outcome(direct.fromUplink(arrived)), [VERDICT.REDIRECT, []]);
      assert.deepEqual(outcome(world.fromPod('b', left)), [VERDICT.REDIRECT, []]);
      for (const one of [world, direct]) {
        reset(one);
        one.path.isolate('b', { ingressSet: SET, egressSet: SET });
      }
      assert.deepEqual(outcome(world.toPod(arrived)), held);
      assert.deepEqual(outcome(world.fromOtherNode(arrived)), held);
      assert.deepEqual(outcome(direct.fromUplink(arrived)), held);
      assert.deepEqual(outcome(world.fromPod('b', left)), held);
      world.path.allow({ set: SET, peer: IDENTITY.ANY, protocol: PROTOCOL.TCP, port: 8080 });
      assert.deepEqual(outcome(world.fromOtherNode(arrived)), [VERDICT.REDIRECT, []], 'anybody may');
    });

    it('what is no pod and no node is the world', () => {
      world.path.isolate('b', { ingressSet: SET, egressSet: SET });
      for (const done of [
        world.fromUplink(packet('client', 'b', family)),
        world.toPod(packet('client', 'b', family)),
        world.fromPod('b', packet('b', 'client', family)),
      ])
        assert.deepEqual(outcome(done), [VERDICT.DROP, [DROP.POLICY.code]]);
      world.path.allow({ set: SET, peer: IDENTITY.WORLD, protocol: PROTOCOL.TCP, port: 8080 });
      assert.deepEqual(outcome(world.fromUplink(packet('client', 'b', family))), [VERDICT.REDIRECT, []]);
      assert.deepEqual(outcome(world.fromPod('b', packet('b', 'client', family))), [VERDICT.OK, []]);
      assert.deepEqual(new Set(peers(world)), new Set([IDENTITY.WORLD]));
    });

    it("the cluster's DNS address is asked as the pods behind it", () => {
      world.path.isolate('b', { egressSet: SET });
      const question = packet('b', 'dns', family, { protocol: PROTOCOL.UDP, destinationPort: 53 });
      assert.deepEqual(outcome(world.fromPod('b', question)), [VERDICT.DROP, [DROP.POLICY.code]]);
      world.path.allow({ set: SET, peer: IDENTITIES.dns, protocol: PROTOCOL.UDP, port: 53 });
      assert.deepEqual(outcome(world.fromPod('b', question)), [VERDICT.OK, []]);
    });

    it('an address of a pod block that nobody has leads nowhere, and is told', () => {
      const lost = [VERDICT.DROP, [DROP.NO_ROUTE.code]];
      assert.deepEqual(outcome(world.fromPod('b', packet('b', 'nobody', family))), lost);
      assert.deepEqual(outcome(world.fromOtherNode(packet('remote', 'nobody', family))), lost);
    });

    it('a connection of a sidecar to the control plane outlives policy, as long as that is one', () => {
      const control = { node: addressBytes(HOSTS.otherNode[4]), identity: IDENTITIES.remote };
      world.path.know('remote', { ...control, flags: EP.CONTROL_PLANE });
      const { a, remote } = HOSTS;
      // Its SYN needs a tagged socket, which test runs have none of: here it has been sent.
      const ports = { sourcePort: 40_001, destinationPort: 8080 };
      const key = { source: addressBytes(a[family]), destination: addressBytes(remote[family]), ...ports };
      world.path.set(
        TABLES.connection,
        { ...key, protocol: PROTOCOL.TCP, direction: DIRECTION.EGRESS },
        { seenS: monotonicSeconds(), set: SET, peer: IDENTITIES.remote, flags: CONNECTION.CONTROL },
      );
      world.path.isolate('a', { ingressSet: SET + 1, egressSet: SET + 1, flags: EP.LOCAL | EP.MESHED });
      const data = packet('a', 'remote', family, { flags: TCP.ACK });
      assert.deepEqual(outcome(world.fromPod('a', data)), [VERDICT.REDIRECT, []]);
      const answer = packet('remote', 'a', family, {
        sourcePort: 8080,
        destinationPort: 40_001,
        flags: TCP.ACK,
      });
      assert.deepEqual(outcome(world.fromOtherNode(answer)), [VERDICT.REDIRECT, []]);
      world.path.know('remote', control);
      world.path.isolate('a', { ingressSet: SET + 2, egressSet: SET + 2, flags: EP.LOCAL | EP.MESHED });
      assert.deepEqual(outcome(world.fromPod('a', data)), [VERDICT.DROP, [DROP.POLICY.code]]);
    });

    it("a meshed pod's own SYN goes no further without its sidecar's tag, but for DNS and what is skipped", () => {
      world.path.isolate('a', { flags: EP.LOCAL | EP.MESHED, podId: 9 });
      const bypass = [VERDICT.DROP, [DROP.BYPASS.code]];
      assert.deepEqual(outcome(world.fromPod('a', packet('a', 'remote', family))), bypass);
      assert.notDeepEqual(
        outcome(world.fromPod('a', packet('a', 'remote', family, { flags: TCP.ACK }))),
        bypass,
      );
      const dns = packet('a', 'dns', family, { destinationPort: 53 });
      assert.deepEqual(outcome(world.fromPod('a', dns)), [VERDICT.OK, []]);
      world.path.set(TABLES.skippedPort, { podId: 9, port: 8080, direction: DIRECTION.EGRESS }, 1);
      assert.deepEqual(outcome(world.fromPod('a', packet('a', 'remote', family))), [VERDICT.REDIRECT, []]);
      world.path.clear(TABLES.skippedPort);
      const address = addressBytes(HOSTS.remote[family]);
      world.path.set(TABLES.skippedPrefix, { bits: 160, podId: 9, address }, 1);
      assert.deepEqual(outcome(world.fromPod('a', packet('a', 'remote', family))), [VERDICT.REDIRECT, []]);
      world.path.clear(TABLES.skippedPrefix);
    });

    it('over another CNI every program passes everything on, uncounted, but what evades a sidecar', () => {
      using chained = new World(NODE.CAPTURE_ONLY);
      chained.path.isolate('a', { ingressSet: SET, egressSet: SET, flags: EP.LOCAL | EP.MESHED });
      const passed = [
        chained.fromPod('b', packet('remote', 'b', family)),
        chained.fromPod('a', packet('a', 'remote', family, { flags: TCP.ACK })),
        chained.toPod(packet('remote', 'a', family)),
        chained.fromUplink(packet('a', 'b', family)),
      ];
      for (const { verdict, drops, counted } of passed)
        assert.deepEqual([verdict, drops, counted], [VERDICT.NEXT, [], []]);
      const evading = chained.fromPod('a', packet('a', 'remote', family));
      assert.deepEqual(outcome(evading), [VERDICT.DROP, [DROP.BYPASS.code]]);
    });

    it('a node that is not configured yet drops what pods send, and lets the host be', () => {
      using blank = new World();
      blank.path.configure({ node4: Buffer.alloc(16), node6: Buffer.alloc(16) });
      const internal = [VERDICT.DROP, [DROP.INTERNAL.code]];
      assert.deepEqual(outcome(blank.fromPod('a', packet('a', 'b', family))), internal);
      assert.deepEqual(outcome(blank.fromOtherNode(packet('remote', 'b', family))), internal);
      assert.deepEqual(outcome(blank.fromUplink(packet('client', 'b', family))), [VERDICT.NEXT, []]);
      assert.equal(blank.path.run('to_overlay', packet('node', 'remote', family)).verdict, VERDICT.DROP);
    });

    it("a pod's own packets of a tunnel don't leave the cluster, where they would come from its node", () => {
      const port = { protocol: PROTOCOL.UDP, destinationPort: 4789 };
      const closed = [VERDICT.DROP, [DROP.TUNNEL_PORT.code]];
      for (const one of [world, direct]) {
        assert.deepEqual(outcome(one.fromPod('a', packet('a', 'client', family, port))), closed);
        assert.deepEqual(outcome(one.fromPod('a', packet('a', 'b', family, port))), [VERDICT.REDIRECT, []]);
        const other = { ...port, destinationPort: 4790 };
        assert.deepEqual(outcome(one.fromPod('a', packet('a', 'client', family, other))), [VERDICT.OK, []]);
        const tcp = { ...port, protocol: PROTOCOL.TCP };
        assert.deepEqual(outcome(one.fromPod('a', packet('a', 'client', family, tcp))), [VERDICT.OK, []]);
      }
    });

    it("a source that isn't the pod's own goes nowhere", () => {
      const spoofed = [VERDICT.DROP, [DROP.SPOOFED.code]];
      const froms: readonly Host[] = [
        'b',
        'remote',
        'unknown',
        'nobody',
        'node',
        'otherNode',
        'dns',
        'client',
      ];
      for (const from of froms)
        assert.deepEqual(outcome(world.fromPod('a', packet(from, 'b', family))), spoofed, from);
      const own = packet('a', 'b', family);
      const elsewhere = world.path.run('from_pod', own, { ifindex: IFINDEX.b });
      assert.deepEqual(outcome(elsewhere), spoofed, 'by the device of another');
    });
  });
}

/** The clock that connections are written by: seconds of the monotonic one. */
function monotonicSeconds(): number {
  return Number(process.hrtime.bigint() / 1_000_000_000n);
}
