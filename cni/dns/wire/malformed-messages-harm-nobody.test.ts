import assert from 'node:assert/strict';
import { test } from 'node:test';
import packet from 'dns-packet';
import { systemClock } from '../../../common/clock.ts';
import { seededRandom } from '../../../common/random.ts';
import { leakCheck } from '../../../test/support/leak-check.ts';
import { DnsMetrics } from '../metrics.ts';
import { ZoneBuilder } from '../records.ts';
import { Resolver } from '../resolver.ts';
import { readForeignMessage, replayMessage } from './message.ts';
import { readQuery } from './query.ts';
import { plainQuestion } from './question.ts';

leakCheck();
const zone = new ZoneBuilder({ clusterDomain: 'cluster.local', dnsAddresses: [] }).build([], 1);
const random = seededRandom(4);
const resolver = new Resolver({
  ...{ zone: () => zone, forwarder: undefined, random, clock: systemClock, metrics: new DnsMetrics() },
});
const HEADER = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const NAME = [...Buffer.from('\x01a\x07cluster\x05local\0\0\x01\0\x01', 'latin1')];

function ask(bytes: readonly number[] | Buffer): Buffer[] {
  const answers: Buffer[] = [];
  resolver.handle(Buffer.from(bytes), '192.0.2.9', 'udp', (one) => answers.push(one));
  return answers;
}

const rcode = (answers: Buffer[]) => (answers[0]?.[3] ?? 0xff) & 0xf;

test('what is no query gets no answer, what is malformed gets its error', () => {
  const with12 = (changes: Record<number, number>) => HEADER.map((byte, index) => changes[index] ?? byte);
  assert.deepEqual(
    ask([1, 2, 3]).map((one) => one.length),
    [0],
  );
  assert.deepEqual(
    ask([...with12({ 2: 0x80 }), ...NAME]).map((one) => one.length),
    [0],
  );
  assert.equal(rcode(ask([...with12({ 2: 0x28 }), ...NAME])), 4);
  assert.equal(rcode(ask([...with12({ 5: 2 }), ...NAME])), 1);
  assert.equal(rcode(ask([...with12({ 5: 0 }), ...NAME])), 1);
  assert.equal(rcode(ask([...with12({ 10: 0xff }), ...NAME])), 1);
  assert.equal(rcode(ask([...HEADER, 0xc0, 0x0c, 0, 1, 0, 1])), 1);
  assert.equal(rcode(ask([...HEADER, 64, ...NAME])), 1);
  assert.equal(rcode(ask([...HEADER, ...NAME.slice(0, -1)])), 1);
  assert.equal(rcode(ask([...HEADER, ...NAME])), 3);
});

test('EDNS: version 1 is refused as BADVERS, two OPT records and cut ones as malformed, unknown options pass', () => {
  const opt = [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
  const head = (count: number) => HEADER.map((byte, index) => (index === 11 ? count : byte));
  const version1 = ask([...head(1), ...NAME, ...opt.map((byte, index) => (index === 6 ? 1 : byte))]);
  const decoded = packet.decode(version1[0] ?? Buffer.alloc(0));
  assert.equal(decoded.additionals?.[0]?.type === 'OPT' && decoded.additionals[0].extendedRcode, 1);
  assert.equal(rcode(ask([...head(2), ...NAME, ...opt, ...opt])), 1);
  assert.equal(rcode(ask([...head(1), ...NAME, ...opt.slice(0, -2)])), 1);
  assert.equal(rcode(ask([...head(1), ...NAME, ...opt.slice(0, -1), 9])), 1);
  assert.equal(rcode(ask([...head(1), ...NAME, ...opt.slice(0, -1), 6, 0xff, 0xfe, 0, 2, 7, 7])), 3);
});

test('a hundred thousand mutated messages: one answer or none each, never an exception', () => {
  const seeds = [
    packet.encode({ id: 1, questions: [{ name: 'a.cluster.local', type: 'A' }] }),
    packet.encode({
      ...{ id: 2, questions: [{ name: 'b.svc.cluster.local', type: 'SRV' }] },
      additionals: [
        {
          type: 'OPT',
          name: '.',
          udpPayloadSize: 4096,
          flags: 0,
          extendedRcode: 0,
          ednsVersion: 0,
          flag_do: false,
          options: [],
        },
      ],
    } as packet.Packet),
    packet.encode({
      ...{ type: 'response', id: 3, questions: [{ name: 'x.test', type: 'A' }] },
      answers: [
        { name: 'x.test', type: 'CNAME', data: 'y.test', ttl: 5 },
        { name: 'y.test', type: 'A', data: '192.0.2.1', ttl: 5 },
      ],
    }),
  ];
  const question = plainQuestion('x.test', 1);
  let foreign = 0;
  for (let round = 0; round < 100_000; round++) {
    const bytes = Buffer.from(seeds[round % seeds.length] ?? Buffer.alloc(0));
    for (let flips = Math.floor(random.next() * 5); flips >= 0; flips--)
      bytes[Math.floor(random.next() * bytes.length)] = Math.floor(random.next() * 256);
    const cut = bytes.subarray(
      0,
      random.next() < 0.2 ? Math.floor(random.next() * bytes.length) : bytes.length,
    );
    const answers = ask(cut);
    assert.equal(answers.length, 1);
    assert.ok((answers[0]?.length ?? 0) <= 1232);
    const message = readForeignMessage(cut, question);
    const read = readQuery(seeds[0] ?? Buffer.alloc(0));
    if (message === undefined || read.kind !== 'query') continue;
    foreign++;
    assert.ok(replayMessage(message, { ...read.query, question }, { bytesMax: 512, ageS: 1 }).length <= 512);
  }
  assert.ok(foreign > 500, `${foreign} upstream answers were well-formed`);
});
