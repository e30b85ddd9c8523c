import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { EXTERNAL, PROTOCOL, SERVICE } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressText, anyAddress } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, datagram, fragments, icmpError, TCP } from '../packets/craft.ts';
import { type Family, HOSTS, type Outcome, VERDICT } from '../packets/datapath.ts';
import { reset, World } from './entrances.ts';
import {
  asks,
  families,
  got,
  type Host,
  outcome,
  PORT,
  type Published,
  publishIn,
  turned,
} from './outside.ts';
import { VNI } from './overlay.ts';

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
  for (const node of [world, direct]) {
    reset(node);
    node.path.clear(TABLES.service, TABLES.backend);
  }
});

const publish = (family: Family, published: Published) => publishIn(world, family, published);

/** Went on, with exactly these bytes: addresses, ports and all checksums. */
function assertSent(done: Outcome, as: Crafted): void {
  assert.deepEqual(outcome(done), [VERDICT.REDIRECT, []]);
  assert.equal(done.bytes.toString('hex', 14), datagram(as).toString('hex'));
}

function backendsOf(family: Family, count: number): number {
  for (let n = 0; n < count; n++) world.fromUplink(asks(family, 'node', { sourcePort: 50_001 + n }));
  const entries = world.path.entries(TABLES.external).filter(([key]) => key.way === EXTERNAL.FORWARD);
  assert.equal(entries.length, count);
  return new Set(entries.map(([, value]) => addressText(value.address))).size;
}

for (const family of families)
  describe(`from_uplink: Services over IPv${family}`, () => {
    for (const at of ['node', 'balancer'] as const)
      for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP]) {
        it(`a backend here gets what a client asks, and answers in the Service's name: ${at}, ${protocol}`, () => {
          publish(family, { at, protocol, backends: [['b', 8080]] });
          const asked = asks(family, at, { protocol });
          const done = world.path.run('from_uplink', asked, { mark: 9 });
          assertSent(done, got(asked, 'b', family));
          assert.deepEqual([done.mark, done.counted], [0, ['forwarded ingress']]);
          assert.equal(done.bytes.toString('hex', 0, 12), '02000000000beeeeeeeeeeee');
          const answered = turned(got(asked, 'b', family), { flags: TCP.SYN | TCP.ACK });
          assertSent(world.fromPod('b', answered), turned(asked, { flags: TCP.SYN | TCP.ACK }));
          const ways = world.path.entries(TABLES.external).map(([key, value]) => ({
            ...{
              way: key.way,
              from: addressText(key.source),
              port: value.port,
              at: addressText(value.address),
            },
          }));
          assert.deepEqual(
            ways.sort((one, other) => one.way - other.way),
            [
              { way: EXTERNAL.FORWARD, from: asked.from, port: 8080, at: HOSTS.b[family] },
              { way: EXTERNAL.REPLY, from: HOSTS.b[family], port: PORT, at: asked.to },
            ],
          );
        });

        it(`a backend elsewhere gets it by the tunnel, and its answer is put back here: ${at}, ${protocol}`, () => {
          for (const node of [world, direct]) {
            publishIn(node, family, { at, protocol, backends: [['remote', 8080]] });
            const asked = asks(family, at, { protocol });
            const done = node.fromUplink(asked);
            assertSent(done, got(asked, 'remote', family));
            assert.deepEqual(done.counted, ['forwarded ingress']);
            const answered = turned(got(asked, 'remote', family), { flags: TCP.SYN | TCP.ACK });
            const outer = { from: HOSTS.otherNode[4], vni: VNI.EXTERNAL };
            const back = node.overlay.run('from_overlay', answered, outer);
            assertSent(back, turned(asked, { flags: TCP.SYN | TCP.ACK }));
          }
        });
      }

    it('without a backend the host refuses at its own address', () => {
      publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends: [] });
      const done = outcome(world.fromUplink(asks(family, 'node')));
      assert.deepEqual(done, [VERDICT.OK, [DROP.NO_BACKEND.code]]);
    });

    it('a backend that nobody has gets nothing', () => {
      publish(family, { at: 'balancer', protocol: PROTOCOL.TCP, backends: [['nobody', 8080]] });
      const nobody = outcome(world.fromUplink(asks(family, 'balancer', { sourcePort: 50_002 })));
      assert.deepEqual(nobody, [VERDICT.DROP, [DROP.NO_ROUTE.code]]);
    });

    it('a program of this node itself, and the DNS address, are left to the host', () => {
      publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends: [['node', PORT]] });
      assert.deepEqual(outcome(world.fromUplink(asks(family, 'node'))), [VERDICT.OK, []]);
      publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends: [['b', 8080]], flags: SERVICE.DNS });
      assert.deepEqual(outcome(world.fromUplink(asks(family, 'node'))), [VERDICT.OK, []]);
      assert.deepEqual(world.path.entries(TABLES.external), []);
    });

    it("the backend's policy holds, by the client's own address", () => {
      publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends: [['b', 8080]] });
      world.path.isolate('b', { ingressSet: 81 });
      const denied = world.fromUplink(asks(family, 'node'));
      assert.deepEqual(outcome(denied), [VERDICT.DROP, [DROP.POLICY.code]]);
      const [told] = denied.drops;
      assert.deepEqual([told?.set, told?.destinationPort, told?.direction], [81, 8080, 0]);
      assert.deepEqual(addressText(told?.source ?? anyAddress(4)), HOSTS.client[family]);
    });

    it('a sticky client stays with its backend, others are spread', () => {
      const backends = [
        ['a', 8080],
        ['b', 8080],
      ] as const;
      publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends, flags: SERVICE.AFFINITY });
      assert.equal(backendsOf(family, 32), 1);
      const [[key] = []] = world.path.entries(TABLES.affinity);
      assert.equal(key && addressText(key.client), HOSTS.client[family]);
      reset(world);
      publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends });
      assert.equal(backendsOf(family, 32), 2, 'one in four billion runs may draw one backend for all');
    });

    it('an open connection keeps its backend when the Service changes, datagrams move when theirs goes', () => {
      for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP]) {
        publish(family, { at: 'node', protocol, backends: [['b', 8080]] });
        const asked = asks(family, 'node', { protocol });
        assertSent(world.fromUplink(asked), got(asked, 'b', family));
        publish(family, { at: 'node', protocol, backends: [['a', 8080]] });
        const next = { ...asked, flags: TCP.ACK };
        const kept = protocol === PROTOCOL.TCP ? 'b' : 'a';
        assertSent(world.fromUplink(next), got(next, kept, family));
      }
    });

    it("two of a client's connections that its backend could not tell apart are not both taken", () => {
      publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends: [['b', 8080]] });
      publish(family, { at: 'balancer', protocol: PROTOCOL.TCP, backends: [['b', 8080]] });
      assertSent(world.fromUplink(asks(family, 'node')), got(asks(family, 'node'), 'b', family));
      const second = world.fromUplink(asks(family, 'balancer'));
      assert.deepEqual(outcome(second), [VERDICT.DROP, [DROP.INTERNAL.code]]);
    });

    for (const ends of ['a reset', 'both ends'] as const)
      it(`a client's port serves another address after ${ends}`, () => {
        publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends: [['b', 8080]] });
        publish(family, { at: 'balancer', protocol: PROTOCOL.TCP, backends: [['b', 8080]] });
        const asked = asks(family, 'node');
        world.fromUplink(asked);
        if (ends === 'a reset') world.fromUplink({ ...asked, flags: TCP.RST });
        else {
          world.fromUplink({ ...asked, flags: TCP.FIN | TCP.ACK });
          assert.deepEqual(outcome(world.fromUplink(asks(family, 'balancer')))[0], VERDICT.DROP);
          world.fromPod('b', turned(got(asked, 'b', family), { flags: TCP.FIN | TCP.ACK }));
        }
        assertSent(world.fromUplink(asks(family, 'balancer')), got(asks(family, 'balancer'), 'b', family));
        const answered = turned(got(asked, 'b', family), { flags: TCP.SYN | TCP.ACK });
        assertSent(
          world.fromPod('b', answered),
          turned(asks(family, 'balancer'), { flags: TCP.SYN | TCP.ACK }),
        );
      });

    it('of datagrams the newest question gets the answer', () => {
      const protocol = PROTOCOL.UDP;
      for (const at of ['node', 'balancer'] as const) {
        publish(family, { at, protocol, backends: [['b', 8080]] });
        const asked = asks(family, at, { protocol });
        assertSent(world.fromUplink(asked), got(asked, 'b', family));
        assertSent(world.fromPod('b', turned(got(asked, 'b', family))), turned(asked));
      }
    });

    it('fragments of a datagram go to one backend', () => {
      publish(family, { at: 'node', protocol: PROTOCOL.UDP, backends: [['b', 8080]] });
      const whole = asks(family, 'node', { protocol: PROTOCOL.UDP, payload: Buffer.alloc(300, 7) });
      const before = fragments(whole, 104, 5);
      const after = fragments(got(whole, 'b', family), 104, 5);
      assert.equal(before.length, 3);
      for (const [n, part] of before.entries()) assertSent(world.fromUplink(part), after[n] ?? part);
    });

    it('SCTP keeps its port, since its sum cannot follow another', () => {
      publish(family, { at: 'node', protocol: PROTOCOL.SCTP, backends: [['b', PORT]] });
      const asked = asks(family, 'node', { protocol: PROTOCOL.SCTP });
      assertSent(world.fromUplink(asked), got(asked, 'b', family, PORT));
      publish(family, { at: 'node', protocol: PROTOCOL.SCTP, backends: [['b', 8080]] });
      const other = world.fromUplink({ ...asked, sourcePort: 50_002 });
      assert.deepEqual(outcome(other), [VERDICT.DROP, [DROP.UNSUPPORTED.code]]);
    });

    for (const kind of ['unreachable', 'too big', 'expired'] as const)
      it(`an ICMP error follows the connection that it quotes, both ways: ${kind}`, () => {
        const quotedBytes = (family === 4 ? 20 : 40) + 8;
        publish(family, { at: 'node', protocol: PROTOCOL.TCP, backends: [['b', 8080]] });
        const asked = asks(family, 'node');
        world.fromUplink(asked);
        const inside = got(asked, 'b', family);
        const ofAnswer = icmpError(asked.from, turned(asked), kind, quotedBytes);
        assertSent(world.fromUplink(ofAnswer), icmpError(asked.from, turned(inside), kind, quotedBytes));
        const ofAsked = icmpError(inside.to, inside, kind, quotedBytes);
        assertSent(world.fromPod('b', ofAsked), icmpError(asked.to, asked, kind, quotedBytes));
      });

    it('what is about no pod and no Service is the host’s, uncounted', () => {
      const strangers = [asks(family, 'node'), asks(family, 'balancer')];
      const tunnel = { protocol: PROTOCOL.UDP, destinationPort: 4789 };
      publish(family, { at: 'node', port: 4789, protocol: PROTOCOL.UDP, backends: [['b', 8080]] });
      strangers.push(asks(family, 'node', tunnel));
      publishIn(direct, family, { at: 'node', port: 4789, protocol: PROTOCOL.UDP, backends: [['b', 8080]] });
      for (const node of [world, direct])
        for (const packet of strangers) {
          const { verdict, drops, counted } = node.fromUplink(packet);
          assert.deepEqual([verdict, drops, counted], [VERDICT.OK, [], []]);
        }
      direct.path.configure({ flags: 0, tunnelIfindex: 0 });
      assertSent(
        direct.fromUplink(asks(family, 'node', tunnel)),
        got(asks(family, 'node', tunnel), 'b', family),
      );
      direct.path.configure({ flags: 0 });
    });

    it('without a device for the tunnel there is no way to backends elsewhere', () => {
      direct.path.configure({ flags: 0, tunnelIfindex: 0 });
      publishIn(direct, family, { at: 'balancer', protocol: PROTOCOL.TCP, backends: [['remote', 8080]] });
      const done = direct.fromUplink(asks(family, 'balancer', { sourcePort: 50_009 }));
      assert.deepEqual(outcome(done), [VERDICT.DROP, [DROP.NO_ROUTE.code]]);
      direct.path.configure({ flags: 0 });
    });

    it('nobody on the uplink speaks for this node or its pods; for other pods only where the underlay routes them', () => {
      const from = (host: Host, to: Host = 'b') => ({
        ...asks(family, 'node'),
        from: HOSTS[host][family],
        to: HOSTS[to][family],
      });
      const spoofed = [VERDICT.DROP, [DROP.SPOOFED.code]];
      for (const host of ['a', 'node', 'dns', 'remote', 'unknown', 'nobody'] as const)
        assert.deepEqual(outcome(world.fromUplink(from(host))), spoofed, host);
      for (const host of ['a', 'node', 'dns', 'nobody'] as const)
        assert.deepEqual(outcome(direct.fromUplink(from(host))), spoofed, host);
      for (const host of ['remote', 'unknown', 'otherNode', 'client'] as const)
        assert.deepEqual(outcome(direct.fromUplink(from(host))), [VERDICT.REDIRECT, []], host);
      for (const host of ['otherNode', 'client'] as const)
        assert.deepEqual(outcome(world.fromUplink(from(host))), [VERDICT.REDIRECT, []], host);
    });
  });

describe('from_uplink: datagrams without a sum', () => {
  it('stay without one', () => {
    publish(4, { at: 'node', protocol: PROTOCOL.UDP, backends: [['b', 8080]] });
    const asked = asks(4, 'node', { protocol: PROTOCOL.UDP, withoutUdpSum: true });
    assertSent(world.fromUplink(asked), got(asked, 'b', 4));
  });
});
