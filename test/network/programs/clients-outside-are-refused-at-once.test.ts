import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { PROTOCOL, REFUSALS_PER_S_MAX, SERVICE } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressText, noAddress } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import {
  type Crafted,
  datagram,
  echo,
  fragments,
  frame,
  HEADER,
  icmpError,
  internetSum,
  pseudoHeader,
  TCP,
} from '../packets/craft.ts';
import { type Family, type Outcome, VERDICT } from '../packets/datapath.ts';
import { reset, World } from './entrances.ts';
import { asks, families, outcome, type Published, publishIn, toThisHost, turned } from './outside.ts';
import { pendingSum, summedByDevice } from './pending-sums.ts';

leakCheck();
let world: World;
before(() => {
  world = new World();
});
after(() => world[Symbol.dispose]());
beforeEach(() => {
  reset(world);
  world.path.clear(TABLES.service, TABLES.backend);
  world.path.set(TABLES.refusal, 0, { second: 0, count: 0 });
});

const told = [DROP.NO_BACKEND.code];
const counted = ['no-backend ingress'];
const protocols = [PROTOCOL.TCP, PROTOCOL.UDP] as const;
/** Of a whole error: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4(c). */
const errorBytesMax = { 4: 576, 6: 1280 } as const;
const headerBytes = { 4: 20, 6: 40 } as const;

function publish(family: Family, more: Partial<Published> = {}): void {
  for (const protocol of [...protocols, PROTOCOL.SCTP])
    publishIn(world, family, { at: 'balancer', protocol, backends: [], ...more });
}

function resetOf(asked: Crafted, bytesMore: number): Crafted {
  return turned(asked, {
    ...{
      flags: TCP.RST | TCP.ACK,
      acknowledged: 1 + bytesMore,
      payload: Buffer.alloc(0),
      dontFragment: true,
    },
  });
}

/** Quotes whole words. */
function unreachable(asked: Crafted): Crafted {
  const family = asked.from.includes(':') ? 6 : 4;
  const max = errorBytesMax[family] - headerBytes[family] - 8;
  const quoted = Math.min(datagram(asked).length, max) & ~3;
  return { ...icmpError(asked.to, asked, 'unreachable', quoted), dontFragment: true };
}

function assertAnswered(done: Outcome, as: Crafted): void {
  assert.deepEqual(
    [done.verdict, done.drops.map(({ reason }) => reason), done.counted],
    [VERDICT.REDIRECT, told, counted],
  );
  assert.equal(done.bytes.toString('hex', 14), datagram(as).toString('hex'));
}

for (const family of families)
  describe(`from_uplink: refusals over IPv${family}`, () => {
    it('a SYN gets a reset of whom it asked, for all that came with it', () => {
      publish(family);
      for (const bytes of [0, 1, 6, 1200]) {
        const asked = asks(family, 'balancer', { payload: Buffer.alloc(bytes, 7) });
        const done = world.path.run('from_uplink', toThisHost(asked), { mark: 9 });
        assertAnswered(done, resetOf(asked, bytes));
        assert.equal(done.mark, 0);
        const [drop] = done.drops;
        assert.equal(addressText(drop?.destination ?? noAddress()), asked.to);
      }
      const ends = asks(family, 'balancer', { flags: TCP.SYN | TCP.FIN });
      assertAnswered(world.fromUplink(toThisHost(ends)), resetOf(ends, 'heddle'.length + 1));
    });

    it('a datagram gets a port unreachable that quotes it, never larger than such errors may be', () => {
      publish(family);
      for (const bytes of [0, 1, 4, 6, 500, 519, 520, 1183, 1184, 1400]) {
        const asked = asks(family, 'balancer', { protocol: PROTOCOL.UDP, payload: Buffer.alloc(bytes, 7) });
        const done = world.fromUplink(toThisHost(asked));
        assertAnswered(done, unreachable(asked));
        assert.ok(done.bytes.length - 14 <= errorBytesMax[family]);
        assert.ok(done.bytes.length - 14 <= datagram(asked).length + headerBytes[family] + 8);
      }
    });

    it('what a device has yet to sum up is answered right, whether it does so or not', () => {
      publish(family);
      const syn = asks(family, 'balancer');
      const reset = world.fromUplink(pendingSum(toThisHost(syn), family));
      const done = summedByDevice(reset.bytes, 14 + headerBytes[family], 16);
      assert.equal(done.toString('hex', 14), datagram(resetOf(syn, 'heddle'.length)).toString('hex'));
      for (const bytes of [0, 5, 700, 1400]) {
        const asked = asks(family, 'balancer', { protocol: PROTOCOL.UDP, payload: Buffer.alloc(bytes, 3) });
        const error = world.fromUplink(pendingSum(toThisHost(asked), family)).bytes;
        const quoted = 14 + headerBytes[family] + 8;
        assert.deepEqual(summedByDevice(error, quoted + headerBytes[family], 6), error);
        const message = error.subarray(14 + headerBytes[family]);
        assert.deepEqual([...message.subarray(0, 2)], family === 4 ? [3, 3] : [1, 4]);
        const counts = pseudoHeader(asked.to, asked.from, PROTOCOL.ICMPV6, message.length);
        assert.equal(internetSum(...(family === 4 ? [] : [counts]), message), 0);
      }
    });

    it('a backend that is a node is none', () => {
      publish(family, { backends: [['otherNode', 8080]] });
      assertAnswered(
        world.fromUplink(toThisHost(asks(family, 'balancer'))),
        resetOf(asks(family, 'balancer'), 6),
      );
      assert.deepEqual(world.path.entries(TABLES.external), []);
    });

    it('where only other nodes have endpoints it is dropped, at the node’s own address too', () => {
      for (const at of ['balancer', 'node'] as const) {
        publish(family, { at, flags: SERVICE.ELSEWHERE });
        for (const protocol of protocols) {
          const done = world.fromUplink(toThisHost(asks(family, at, { protocol })));
          assert.deepEqual([outcome(done), done.counted], [[VERDICT.DROP, told], counted]);
        }
      }
    });

    it('what may not be answered is dropped: fragments, answers, other protocols, what is for others', () => {
      publish(family);
      const asked = asks(family, 'balancer');
      const big = asks(family, 'balancer', { protocol: PROTOCOL.UDP, payload: Buffer.alloc(300) });
      const silent: readonly (Crafted | Buffer)[] = [
        ...fragments(big, 104, 77),
        ...[TCP.ACK, TCP.RST, TCP.FIN | TCP.ACK, TCP.SYN | TCP.ACK, 0].map((flags) => ({ ...asked, flags })),
        { ...asked, protocol: PROTOCOL.SCTP },
      ];
      for (const packet of silent) {
        const bytes = Buffer.isBuffer(packet) ? packet : toThisHost(packet);
        assert.deepEqual(outcome(world.fromUplink(bytes)), [VERDICT.DROP, told], bytes.toString('hex', 14));
      }
      assert.deepEqual(outcome(world.fromUplink(frame(asked))), [VERDICT.DROP, told], 'overheard');
      const group = toThisHost(asked);
      Buffer.from(family === 4 ? 'ffffffffffff' : '333300000001', 'hex').copy(group);
      assert.deepEqual(outcome(world.fromUplink(group)), [VERDICT.DROP, told], 'to everybody');
      assert.deepEqual(world.path.entries(TABLES.refusal)[0]?.[1], { second: 0, count: 0 });
    });

    it('a SYN behind options or extension headers is dropped, and a datagram answered', () => {
      publish(family);
      const behind: Partial<Crafted> =
        family === 4 ? { optionWords: 1 } : { extensions: [[HEADER.DESTINATION, Buffer.alloc(7)]] };
      const syn = world.fromUplink(toThisHost(asks(family, 'balancer', behind)));
      assert.deepEqual(outcome(syn), [VERDICT.DROP, told]);
      const asked = asks(family, 'balancer', { ...behind, protocol: PROTOCOL.UDP });
      assertAnswered(world.fromUplink(toThisHost(asked)), unreachable(asked));
    });

    it('an ICMP message about nothing that is known is the host’s, and gets no answer', () => {
      publish(family);
      const asked = asks(family, 'balancer');
      const ping = echo(asked.from, asked.to, 7, true);
      const error = icmpError(asked.from, turned(asked), 'unreachable');
      for (const packet of [ping, error])
        assert.deepEqual(outcome(world.fromUplink(toThisHost(packet))), [VERDICT.OK, []]);
    });

    it('nobody is answered whose address stands for none or for many', () => {
      publish(family);
      const sources = {
        4: ['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '239.1.2.3', '240.0.0.1', '255.255.255.255'],
        6: ['::', '::1', 'ff02::1', 'ff0e::5'],
      } as const;
      for (const from of sources[family])
        for (const protocol of protocols) {
          const done = world.fromUplink(toThisHost(asks(family, 'balancer', { from, protocol })));
          assert.deepEqual(outcome(done), [VERDICT.DROP, told], from);
        }
    });

    it(`at most ${REFUSALS_PER_S_MAX} a second are answered, and the rest is dropped and told`, () => {
      publish(family);
      const asked = toThisHost(asks(family, 'balancer'));
      const verdicts = () => {
        for (;;) {
          world.fromUplink(asked);
          const second = world.path.entries(TABLES.refusal)[0]?.[1].second ?? 0;
          world.path.set(TABLES.refusal, 0, { second, count: REFUSALS_PER_S_MAX - 1 });
          const both = [world.fromUplink(asked), world.fromUplink(asked)].map(outcome);
          const now = world.path.entries(TABLES.refusal)[0]?.[1];
          // Another second may have begun meanwhile.
          if (now?.second === second) return { both, count: now.count };
        }
      };
      assert.deepEqual(verdicts(), {
        both: [
          [VERDICT.REDIRECT, told],
          [VERDICT.DROP, told],
        ],
        count: REFUSALS_PER_S_MAX,
      });
      world.path.set(TABLES.refusal, 0, { second: 1, count: REFUSALS_PER_S_MAX });
      assert.deepEqual(outcome(world.fromUplink(asked)), [VERDICT.REDIRECT, told], 'the next second');
    });

    it('the same over an uplink without a tunnel', () => {
      world.path.configure({ flags: 0, tunnelIfindex: 0 });
      publish(family);
      assertAnswered(
        world.fromUplink(toThisHost(asks(family, 'balancer'))),
        resetOf(asks(family, 'balancer'), 6),
      );
      world.path.configure({});
    });
  });
