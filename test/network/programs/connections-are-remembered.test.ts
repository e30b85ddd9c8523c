import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { CONNECTION, PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, fragments, icmpError, TCP } from '../packets/craft.ts';
import { HOSTS, VERDICT } from '../packets/datapath.ts';
import {
  back,
  ENTRANCES,
  type Entrance,
  identityOf,
  isolate,
  relabel,
  reset,
  through,
  Worlds,
} from './entrances.ts';

leakCheck();
let worlds: Worlds;
before(() => {
  worlds = new Worlds();
});
after(() => worlds[Symbol.dispose]());

const SET = 61;
/** Of the opposite direction: it allows nothing. */
const SHUT = 62;
const families = [4, 6] as const;
const denied = { verdict: VERDICT.DROP, reasons: [DROP.POLICY.code] };

for (const entrance of ENTRANCES) {
  const world = () => worlds.of(entrance);
  const run = (packet: Crafted) => {
    const { verdict, drops } = entrance.run(world(), packet);
    return { verdict, reasons: drops.map((one) => one.reason) };
  };
  const answer = (packet: Crafted) => {
    const { verdict, drops } = entrance.answer(world(), packet);
    return { verdict, reasons: drops.map((one) => one.reason) };
  };
  const admitted = { verdict: entrance.admitted, reasons: [] };
  const early = entrance.leavesUnreadable
    ? { verdict: VERDICT.NEXT, reasons: [] }
    : { verdict: VERDICT.DROP, reasons: [DROP.FRAGMENT.code] };
  const open = (protocol: number) => {
    world().path.allow({ set: SET, peer: identityOf(entrance), protocol, port: 8080 });
    isolate(world(), entrance, SET, SHUT);
  };
  const flags = () => ownEntries(entrance).map((value) => value.flags);

  describe(`connections at ${entrance.name}`, () => {
    beforeEach(() => reset(world()));

    for (const family of families) {
      for (const protocol of [PROTOCOL.TCP, PROTOCOL.UDP, PROTOCOL.SCTP])
        it(`answers pass where what they answer is allowed: protocol ${protocol} over IPv${family}`, () => {
          open(protocol);
          const asked = through(entrance, family, { protocol });
          const reply = back(asked, { flags: TCP.SYN | TCP.ACK });
          assert.deepEqual(answer(reply), denied, 'nobody asked yet');
          assert.deepEqual(run(asked), admitted);
          assert.deepEqual(answer(reply).reasons, []);
          assert.deepEqual(flags(), [CONNECTION.REPLIED]);
          assert.deepEqual(answer({ ...reply, sourcePort: 8081 }), denied, 'from another port');
        });

      it(`a SYN is never an answer: IPv${family}`, () => {
        open(PROTOCOL.TCP);
        const asked = through(entrance, family);
        assert.deepEqual(run(asked), admitted);
        assert.deepEqual(answer(back(asked, { flags: TCP.SYN })), denied);
      });

      it(`a packet within a connection that nobody began is judged for itself, and vouches for nothing: IPv${family}`, () => {
        open(PROTOCOL.TCP);
        const data = through(entrance, family, { flags: TCP.ACK });
        assert.deepEqual(run(data), admitted);
        assert.deepEqual(ownEntries(entrance), []);
        assert.deepEqual(run({ ...data, destinationPort: 8081 }), denied);
      });

      it(`another set cuts what it no longer allows, and keeps what it does: IPv${family}`, () => {
        open(PROTOCOL.TCP);
        const asked = through(entrance, family);
        const data = { ...asked, flags: TCP.ACK };
        const reply = back(asked, { flags: TCP.ACK });
        assert.deepEqual(run(asked), admitted);
        isolate(world(), entrance, SET + 10, SHUT);
        assert.deepEqual(run(data), denied);
        assert.deepEqual(answer(reply), denied);
        world().path.allow({ set: SET + 11, peer: identityOf(entrance), protocol: PROTOCOL.TCP, port: 8080 });
        isolate(world(), entrance, SET + 11, SHUT);
        assert.deepEqual(run(data), admitted);
        assert.deepEqual(answer(reply).reasons, []);
        assert.deepEqual(
          ownEntries(entrance).map((value) => value.set),
          [SET + 11],
        );
      });

      it(`another identity of the peer cuts as well: IPv${family}`, () => {
        open(PROTOCOL.UDP);
        const asked = through(entrance, family, { protocol: PROTOCOL.UDP });
        assert.deepEqual(run(asked), admitted);
        relabel(world(), entrance, 777);
        assert.deepEqual(run(asked), denied);
        world().path.allow({ set: SET, peer: 777, protocol: PROTOCOL.UDP, port: 8080 });
        assert.deepEqual(run(asked), admitted);
      });

      it(`the end of a connection is seen: by both, or by a reset: IPv${family}`, () => {
        const asked = through(entrance, family);
        const fin = TCP.FIN | TCP.ACK;
        run(asked);
        run({ ...asked, flags: fin });
        assert.deepEqual(flags(), [CONNECTION.ENDED]);
        answer(back(asked, { flags: fin }));
        assert.equal((flags()[0] ?? 0) & CONNECTION.CLOSING, CONNECTION.CLOSING);
        run(asked);
        assert.deepEqual(flags(), [0], 'the same ports again are a connection of their own');
        answer(back(asked, { flags: TCP.RST }));
        assert.equal((flags()[0] ?? 0) & CONNECTION.CLOSING, CONNECTION.CLOSING);
      });

      it(`fragments share the verdict of their first, and come after it: IPv${family}`, () => {
        open(PROTOCOL.UDP);
        const whole = through(entrance, family, { protocol: PROTOCOL.UDP, payload: Buffer.alloc(200, 7) });
        const [first, second, third] = parts(whole, 91);
        assert.deepEqual(run(second), early);
        for (const part of [first, third, second]) assert.deepEqual(run(part), admitted);
        const [known] = world().path.entries(TABLES.fragment);
        assert.deepEqual(known?.[1], { sourcePort: 40_001, destinationPort: 8080 });
        const refused = parts({ ...whole, destinationPort: 8081 }, 92);
        for (const part of refused) assert.deepEqual(run(part), denied);
        assert.deepEqual(run(parts(whole, 93)[1]), early, 'another datagram');
      });

      it(`an ICMP error belongs to the connection that it quotes: IPv${family}`, () => {
        open(PROTOCOL.UDP);
        const asked = through(entrance, family, { protocol: PROTOCOL.UDP });
        const reply = back(asked);
        // Of the packet that went the other way: by what answers, or by a router on its way.
        const ofReply = (by: string) => icmpError(by, reply, 'unreachable');
        assert.deepEqual(run(ofReply(asked.from)), denied, 'nobody asked yet');
        assert.deepEqual(run(asked), admitted);
        assert.deepEqual(run(ofReply(asked.from)), admitted);
        assert.deepEqual(answer(icmpError(asked.to, asked, 'unreachable')).reasons, []);
        assert.deepEqual(run(ofReply(asked.from)).reasons, []);
        const stranger = through(entrance, family, { protocol: PROTOCOL.UDP, sourcePort: 40_002 });
        assert.deepEqual(run(icmpError(asked.from, back(stranger), 'unreachable')), denied);
        const cut = icmpError(asked.from, reply, 'unreachable', family === 4 ? 24 : 44);
        assert.deepEqual(run(cut), { verdict: VERDICT.DROP, reasons: [DROP.MALFORMED.code] });
        const others = { ...reply, from: HOSTS.client[family], to: HOSTS.nobody[family] };
        assert.deepEqual(run({ ...icmpError(asked.from, others, 'unreachable'), to: asked.to }), denied);
      });
    }
  });
}

function ownEntries(entrance: Entrance) {
  const direction = entrance.direction === 'ingress' ? 0 : 1;
  return worlds
    .of(entrance)
    .path.entries(TABLES.connection)
    .filter(([key]) => key.direction === direction)
    .map(([, value]) => value);
}

/** Three fragments. */
function parts(whole: Crafted, id: number): readonly [Crafted, Crafted, Crafted] {
  const [first, second, third] = fragments(whole, 80, id);
  if (first === undefined || second === undefined || third === undefined) throw new Error('three fragments');
  return [first, second, third];
}
