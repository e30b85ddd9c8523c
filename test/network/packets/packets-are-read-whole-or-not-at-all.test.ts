import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DIRECTION, PROTOCOL } from '../../../cni/maps/constants.ts';
import { DROP } from '../../../cni/maps/drops.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressText } from '../../../common/address.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { type Crafted, datagram, echo, ethernet, fragments, HEADER, TCP } from './craft.ts';
import { Datapath, type Family, HOSTS, VERDICT } from './datapath.ts';

leakCheck();
let path: Datapath;
before(() => {
  path = new Datapath();
});
after(() => path[Symbol.dispose]());

const families = [4, 6] as const;

function toB(family: Family, protocol: number, more: Partial<Crafted> = {}): Crafted {
  return {
    from: HOSTS.a[family],
    to: HOSTS.b[family],
    protocol,
    sourcePort: 40_001,
    destinationPort: 8080,
    ...more,
  };
}

/** Changes one byte of the IP header. */
function spoiled(packet: Crafted, at: number, value: number): Buffer {
  const bytes = datagram(packet);
  bytes.writeUInt8(value, at);
  return ethernet(bytes);
}

describe('a packet of every protocol is read, and its connection remembered', () => {
  for (const family of families) {
    const pairs = { TCP: PROTOCOL.TCP, UDP: PROTOCOL.UDP, SCTP: PROTOCOL.SCTP };
    const padded = (n: number) => Buffer.concat([Buffer.from([n]), Buffer.alloc(6 + n * 8)]);
    const shapes: [string, Partial<Crafted>][] =
      family === 4
        ? [
            ['plainly', {}],
            ['with one word of options', { optionWords: 1 }],
            ['with all options', { optionWords: 10 }],
          ]
        : [
            ['plainly', {}],
            ['behind destination options', { extensions: [[HEADER.DESTINATION, padded(0)]] }],
            ['behind a long option', { extensions: [[HEADER.DESTINATION, padded(3)]] }],
            ['behind a used-up routing header', { extensions: [[HEADER.ROUTING, padded(0)]] }],
            ['behind authentication', { extensions: [[HEADER.AUTHENTICATION, Buffer.alloc(7)]] }],
            ['as an atomic fragment', { fragment: { offset: 0, more: false, id: 5 } }],
            [
              'behind as many as are looked through',
              { extensions: Array.from({ length: 6 }, () => [HEADER.DESTINATION, padded(0)] as const) },
            ],
          ];
    for (const [shape, more] of shapes)
      for (const [name, protocol] of Object.entries(pairs))
        it(`${name} over IPv${family}, ${shape}`, () => {
          path.clear(TABLES.connection);
          const packet = toB(family, protocol, more);
          const done = path.run('from_pod', packet);
          assert.equal(done.verdict, VERDICT.REDIRECT);
          assert.equal(done.bytes.toString('hex', 0, 12), '02000000000beeeeeeeeeeee');
          const known = path.entries(TABLES.connection).map(([key]) => key);
          assert.deepEqual(known.map((key) => key.direction).sort(), [DIRECTION.INGRESS, DIRECTION.EGRESS]);
          for (const key of known)
            assert.deepEqual(
              [
                addressText(key.source),
                addressText(key.destination),
                key.sourcePort,
                key.destinationPort,
                key.protocol,
              ],
              [HOSTS.a[family], HOSTS.b[family], 40_001, 8080, protocol],
            );
        });
    it(`echoes over IPv${family} by their identifier`, () => {
      path.clear(TABLES.connection);
      assert.equal(
        path.run('from_pod', echo(HOSTS.a[family], HOSTS.b[family], 77, true)).verdict,
        VERDICT.REDIRECT,
      );
      assert.deepEqual(
        path.entries(TABLES.connection).map(([key]) => key.sourcePort),
        [77, 77],
      );
    });
    it(`other protocols over IPv${family} have no ports`, () => {
      assert.equal(
        path.run('from_pod', toB(family, 47, { body: Buffer.alloc(3) })).verdict,
        VERDICT.REDIRECT,
      );
    });
  }
});

describe('what cannot be read is dropped, and told', () => {
  const tcp4 = toB(4, PROTOCOL.TCP);
  const tcp6 = toB(6, PROTOCOL.TCP);
  const seven = Array.from({ length: 7 }, () => [HEADER.DESTINATION, Buffer.alloc(7)] as const);
  const routed = Buffer.from([0, 4, 1, 0, 0, 0, 0]);
  const overlay = { offset: 8, more: false, id: 9 };
  const cases: [string, Buffer | Crafted, number][] = [
    ['a version that is none', spoiled(tcp4, 0, 0x55), DROP.MALFORMED.code],
    ['an IPv4 header shorter than it can be', spoiled(tcp4, 0, 0x44), DROP.MALFORMED.code],
    ['an IPv4 packet longer than its frame', spoiled(tcp4, 2, 0xff), DROP.MALFORMED.code],
    ['an IPv4 packet shorter than its header', spoiled(tcp4, 3, 10), DROP.MALFORMED.code],
    ['an IPv6 packet longer than its frame', spoiled(tcp6, 4, 0xff), DROP.MALFORMED.code],
    ['TCP without its flags', { ...tcp4, body: Buffer.alloc(12) }, DROP.MALFORMED.code],
    ['TCP over IPv6 without its flags', { ...tcp6, body: Buffer.alloc(12) }, DROP.MALFORMED.code],
    ['UDP without its length', { ...toB(4, PROTOCOL.UDP), body: Buffer.alloc(4) }, DROP.MALFORMED.code],
    ['SCTP without its sum', { ...toB(6, PROTOCOL.SCTP), body: Buffer.alloc(8) }, DROP.MALFORMED.code],
    ['more extension headers than are looked through', { ...tcp6, extensions: seven }, DROP.MALFORMED.code],
    [
      'an extension header that leads out',
      { ...tcp6, extensions: [[HEADER.DESTINATION, Buffer.from([250, 0, 0, 0, 0, 0, 0])]] },
      DROP.MALFORMED.code,
    ],
    [
      'a routing header with segments left',
      { ...tcp6, extensions: [[HEADER.ROUTING, routed]] },
      DROP.UNSUPPORTED.code,
    ],
    ['options behind a fragment header', withOptionsBehind(tcp6), DROP.UNSUPPORTED.code],
    [
      'a fragment over the flags of its first',
      { ...tcp4, body: Buffer.alloc(16), fragment: overlay },
      DROP.MALFORMED.code,
    ],
    ['the same over IPv6', { ...tcp6, body: Buffer.alloc(16), fragment: overlay }, DROP.MALFORMED.code],
    [
      'a first fragment that ends in the flags',
      { ...tcp4, body: Buffer.alloc(8), fragment: { offset: 0, more: true, id: 1 } },
      DROP.MALFORMED.code,
    ],
    ['another kind of frame', ethernet(datagram(tcp4), 0x8847), DROP.UNSUPPORTED.code],
  ];
  for (const [name, packet, reason] of cases)
    it(name, () => {
      const done = path.run('from_pod', packet);
      assert.deepEqual([done.verdict, done.drops.map((one) => one.reason)], [VERDICT.DROP, [reason]]);
    });
  for (const program of ['to_pod', 'from_overlay', 'to_overlay'] as const)
    it(`in ${program} as well`, () => {
      const done = path.run(program, spoiled(tcp4, 0, 0x44));
      assert.deepEqual(
        [done.verdict, done.drops.map((one) => one.reason)],
        [VERDICT.DROP, [DROP.MALFORMED.code]],
      );
    });
  it('but on the uplink it is left to the host', () => {
    const done = path.run('from_uplink', spoiled(tcp4, 0, 0x44));
    assert.deepEqual([done.verdict, done.drops], [VERDICT.NEXT, []]);
  });
});

describe('fragments share the verdict of their first', () => {
  for (const family of families)
    for (const protocol of [PROTOCOL.UDP, PROTOCOL.TCP])
      it(`protocol ${protocol} over IPv${family}`, () => {
        path.clear(TABLES.fragment);
        const whole = toB(family, protocol, { payload: Buffer.alloc(200, 7), flags: TCP.SYN });
        const [first, second, third] = fragments(whole, 64, 4242);
        if (first === undefined || second === undefined || third === undefined)
          throw new Error('three fragments');
        const early = path.run('from_pod', second);
        assert.deepEqual([early.verdict, early.drops[0]?.reason], [VERDICT.DROP, DROP.FRAGMENT.code]);
        for (const part of [first, second, third])
          assert.equal(path.run('from_pod', part).verdict, VERDICT.REDIRECT);
        path.isolate('b', { ingressSet: 31 });
        for (const part of [first, third]) {
          const denied = path.run('from_pod', part);
          assert.deepEqual(
            [denied.drops[0]?.reason, denied.drops[0]?.destinationPort],
            [DROP.POLICY.code, 8080],
          );
        }
        path.isolate('b', {});
      });
});

function withOptionsBehind(packet: Crafted): Crafted {
  const fragment = Buffer.from([0, 0, 1, 0, 0, 0, 3]);
  return {
    ...packet,
    extensions: [
      [HEADER.FRAGMENT, fragment],
      [HEADER.DESTINATION, Buffer.alloc(7)],
    ],
  };
}
