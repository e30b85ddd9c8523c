import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DIRECTION, IDENTITY, POLICY_BITS, PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressText, parsePrefix } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, echo } from '../packets/craft.ts';
import { type Family, HOSTS, type Outcome, VERDICT } from '../packets/datapath.ts';
import { ENTRANCES, type Entrance, identityOf, isolate, reset, through, Worlds } from './entrances.ts';

leakCheck();
let worlds: Worlds;
before(() => {
  worlds = new Worlds();
});
after(() => worlds[Symbol.dispose]());

const SET = 41;
const OTHER_SET = 42;
const CLASS = IDENTITY.CIDR_BIT + 7;
const EXCEPT = IDENTITY.CIDR_BIT + 8;
const { TCP, UDP, SCTP } = PROTOCOL;
const families = [4, 6] as const;

interface Rule {
  readonly set?: number;
  /** The peer's identity where left out. */
  readonly peer?: number;
  readonly protocol?: number;
  readonly port?: number;
  readonly bits?: number;
}

interface Case {
  readonly name: string;
  readonly rules: readonly Rule[];
  /** Classes of addresses by the peer's: whole, or the range around it. */
  readonly classes?: { readonly host?: number; readonly range?: number };
  /** [protocol, destination port] */
  readonly admitted: readonly (readonly [number, number])[];
  readonly denied: readonly (readonly [number, number])[];
}

const one = { protocol: TCP, port: 8080 };
const CASES: readonly Case[] = [
  {
    name: 'nothing is allowed',
    rules: [],
    admitted: [],
    denied: [
      [TCP, 8080],
      [UDP, 8080],
      [47, 0],
    ],
  },
  {
    name: 'a port of a peer',
    rules: [one],
    admitted: [[TCP, 8080]],
    denied: [
      [TCP, 8081],
      [UDP, 8080],
      [SCTP, 8080],
      [47, 0],
    ],
  },
  {
    name: 'the same in another set',
    rules: [{ ...one, set: OTHER_SET }],
    admitted: [],
    denied: [[TCP, 8080]],
  },
  { name: 'the same for another peer', rules: [{ ...one, peer: 999 }], admitted: [], denied: [[TCP, 8080]] },
  {
    name: 'a protocol',
    rules: [{ protocol: UDP, port: 0, bits: POLICY_BITS.ANY_PORT }],
    admitted: [
      [UDP, 1],
      [UDP, 8080],
      [UDP, 65_535],
    ],
    denied: [
      [TCP, 8080],
      [SCTP, 8080],
    ],
  },
  {
    name: 'everything of a peer',
    rules: [{ protocol: 0, port: 0, bits: POLICY_BITS.ANY_PROTOCOL }],
    admitted: [
      [TCP, 1],
      [UDP, 2],
      [SCTP, 3],
      [47, 0],
    ],
    denied: [],
  },
  {
    name: 'ports 8080 to 8095, one prefix of 12 bits',
    rules: [{ ...one, bits: POLICY_BITS.ANY_PORT + 12 }],
    admitted: [
      [TCP, 8080],
      [TCP, 8087],
      [TCP, 8095],
    ],
    denied: [
      [TCP, 8079],
      [TCP, 8096],
      [UDP, 8080],
    ],
  },
  {
    name: 'a port of anybody',
    rules: [{ ...one, peer: IDENTITY.ANY }],
    admitted: [[TCP, 8080]],
    denied: [[TCP, 8081]],
  },
  {
    name: 'a class of addresses',
    rules: [{ ...one, peer: CLASS }],
    classes: { range: CLASS },
    admitted: [[TCP, 8080]],
    denied: [
      [TCP, 8081],
      [UDP, 8080],
    ],
  },
  {
    name: 'a class of addresses, but not the exception within it',
    rules: [{ ...one, peer: CLASS }],
    classes: { range: CLASS, host: EXCEPT },
    admitted: [],
    denied: [[TCP, 8080]],
  },
  {
    name: 'a class that the peer is not of',
    rules: [{ ...one, peer: CLASS }],
    admitted: [],
    denied: [[TCP, 8080]],
  },
];

function prepare(entrance: Entrance, { rules, classes }: Case): void {
  const world = worlds.of(entrance);
  for (const rule of rules)
    world.path.allow({ set: SET, peer: identityOf(entrance), protocol: TCP, port: 8080, ...rule });
  const peer = HOSTS[entrance.peer];
  const put = (text: string, value: number | undefined) => {
    if (value !== undefined) world.path.set(TABLES.cidr, parsePrefix(text), value);
  };
  put(`${peer[4]}/24`, classes?.range);
  put(`${peer[6]}/64`, classes?.range);
  put(`${peer[4]}/32`, classes?.host);
  put(`${peer[6]}/128`, classes?.host);
  isolate(world, entrance, SET);
}

function packetOf(entrance: Entrance, family: Family, protocol: number, port: number): Crafted {
  const ports = port === 0 ? { body: Buffer.alloc(12) } : { destinationPort: port };
  return through(entrance, family, { protocol, ...ports });
}

/** The drop is told whole, counted once, and nothing is remembered. */
function assertDenied(entrance: Entrance, packet: Crafted, done: Outcome, reason: number, set: number): void {
  const [told, ...more] = done.drops;
  assert.ok(told !== undefined && more.length === 0, 'one drop is told');
  assert.equal(done.verdict, VERDICT.DROP);
  assert.deepEqual(
    [addressText(told.source), addressText(told.destination), told.protocol, told.reason, told.set],
    [packet.from, packet.to, packet.protocol, reason, set],
  );
  assert.equal(told.direction, entrance.direction === 'ingress' ? DIRECTION.INGRESS : DIRECTION.EGRESS);
  if (packet.body === undefined)
    assert.deepEqual([told.sourcePort, told.destinationPort], [packet.sourcePort, packet.destinationPort]);
  assert.equal(told.bytes, done.bytes.length);
  assert.ok(told.atNs > 0n);
  assert.equal(done.counted.filter((what) => what.endsWith(entrance.direction)).length, 1);
}

function remembered(entrance: Entrance, packet: Crafted) {
  const direction = entrance.direction === 'ingress' ? DIRECTION.INGRESS : DIRECTION.EGRESS;
  return worlds
    .of(entrance)
    .path.entries(TABLES.connection)
    .filter(([key]) => key.direction === direction && addressText(key.source) === packet.from)
    .map(([, { set, peer, flags }]) => ({ set, peer, flags }));
}

for (const entrance of ENTRANCES)
  describe(`policy at ${entrance.name}`, () => {
    beforeEach(() => reset(worlds.of(entrance)));

    for (const family of families) {
      it(`without isolation everything passes and is remembered: IPv${family}`, () => {
        const packet = through(entrance, family);
        const done = entrance.run(worlds.of(entrance), packet);
        assert.deepEqual([done.verdict, done.drops, done.counted], [entrance.admitted, [], entrance.counted]);
        assert.deepEqual(remembered(entrance, packet), [{ set: 0, peer: identityOf(entrance), flags: 0 }]);
      });

      for (const one of CASES)
        it(`${one.name}: IPv${family}`, () => {
          const world = worlds.of(entrance);
          prepare(entrance, one);
          for (const [protocol, port] of one.admitted) {
            world.path.clear(TABLES.connection);
            const packet = packetOf(entrance, family, protocol, port);
            const done = entrance.run(world, packet);
            assert.deepEqual([done.verdict, done.counted], [entrance.admitted, entrance.counted]);
            assert.deepEqual(remembered(entrance, packet), [
              { set: SET, peer: identityOf(entrance), flags: 0 },
            ]);
          }
          for (const [protocol, port] of one.denied) {
            world.path.clear(TABLES.connection);
            const packet = packetOf(entrance, family, protocol, port);
            const done = entrance.run(world, packet);
            assertDenied(entrance, packet, done, DROP.POLICY.code, SET);
            assert.deepEqual(remembered(entrance, packet), []);
          }
        });

      it(`an echo needs what allows its protocol: IPv${family}`, () => {
        const world = worlds.of(entrance);
        isolate(world, entrance, SET);
        const { from, to } = through(entrance, family);
        const asking = echo(from, to, 77, true);
        const before = entrance.run(world, asking);
        assertDenied(entrance, asking, before, DROP.POLICY.code, SET);
        world.path.allow({
          ...{ set: SET, peer: identityOf(entrance), protocol: 0, port: 0 },
          bits: POLICY_BITS.ANY_PROTOCOL,
        });
        assert.equal(entrance.run(world, asking).verdict, entrance.admitted);
        assert.notEqual(entrance.answer(world, echo(to, from, 77, false)).verdict, VERDICT.DROP);
      });
    }
  });
