import assert from 'node:assert/strict';
import { test } from 'node:test';
import packet from 'dns-packet';
import { seededRandom } from '../../../common/random.ts';
import { leakCheck } from '../../../test/support/leak-check.ts';
import { VirtualClock } from '../../../test/support/virtual-clock.ts';
import { RCODE, TYPE } from '../wire/numbers.ts';
import { plainQuestion } from '../wire/question.ts';
import { Forwarder, type ForwardOutcome } from './forwarder.ts';
import { DEFAULT_FORWARD_LIMITS, type ForwardLimits } from './limits.ts';
import type { ExchangeEvents, Transport } from './transport.ts';
import { Upstreams } from './upstreams.ts';

leakCheck();

interface Asked {
  readonly way: 'udp' | 'tcp';
  readonly port: number;
  readonly id: number;
  readonly name: string;
  readonly events: ExchangeEvents;
  open: boolean;
}

const OPTIONS = { dnssecOk: false, checkingDisabled: false };

class World {
  readonly clock = new VirtualClock();
  readonly asked: Asked[] = [];
  readonly outcomes: string[] = [];
  readonly attempts: string[] = [];
  readonly forwarder: Forwarder;

  constructor(upstreams: number, limits: Partial<ForwardLimits> = {}) {
    const all = { ...DEFAULT_FORWARD_LIMITS, ...limits };
    const listed = Array.from({ length: upstreams }, (_, index) => ({
      address: '192.0.2.1',
      port: index + 1,
    }));
    const ask =
      (way: 'udp' | 'tcp'): Transport['udp'] =>
      ({ port }, query, events) => {
        const name = packet.decode(query).questions?.[0]?.name ?? '';
        const one: Asked = { way, port, id: query.readUInt16BE(0), name, events, open: true };
        this.asked.push(one);
        return {
          close: () => {
            one.open = false;
          },
        };
      };
    this.forwarder = new Forwarder({
      ...{
        upstreams: new Upstreams(listed, this.clock, all),
        transport: { udp: ask('udp'), tcp: ask('tcp') },
      },
      ...{ clock: this.clock, random: seededRandom(1), limits: all },
      onAttempt: ({ port }, outcome) => this.attempts.push(`${port} ${outcome}`),
    });
  }

  ask(name: string, client = '10.0.0.1', type: number = TYPE.A): void {
    this.forwarder.ask(plainQuestion(name, type), OPTIONS, client, (outcome) =>
      this.outcomes.push(shown(outcome)),
    );
  }

  /** Answers the n-th question that was asked. */
  answer(
    index: number,
    options: { rcode?: number; flags?: number; ttl?: number; id?: number; name?: string; soa?: number } = {},
  ): void {
    const asked = this.asked[index];
    assert.ok(asked !== undefined, `question ${index} was asked`);
    const { rcode = 0, flags = 0, ttl = 60, id = asked.id, name = asked.name, soa } = options;
    const bytes = packet.encode({
      ...{ type: 'response', id, flags: flags | rcode, questions: [{ name, type: 'A' }] },
      answers: rcode === 0 && soa === undefined ? [{ name, type: 'A', data: '192.0.2.7', ttl }] : [],
      authorities:
        soa === undefined
          ? []
          : [{ name: 'test', type: 'SOA', ttl: 900, data: { mname: 'm', rname: 'r', minimum: soa } }],
    });
    asked.events.message(bytes);
  }

  /** Every question was put away, every timer too. */
  assertQuiet(): void {
    assert.deepEqual(
      this.asked.filter((one) => one.open),
      [],
    );
    assert.equal(this.clock.pendingTimers(), 0);
    const { flights, waiting } = this.forwarder.stats();
    assert.deepEqual([flights, waiting], [0, 0]);
  }
}

function shown(outcome: ForwardOutcome): string {
  if (outcome.kind !== 'answered') return outcome.kind;
  return `${outcome.message.rcode}${outcome.stale ? ' stale' : ''}${outcome.ageS > 0 ? ` ${outcome.ageS}s` : ''}`;
}

test('a silent upstream is passed over, and its late answer still counts', async () => {
  const world = new World(2);
  world.ask('a.test');
  await world.clock.advance(DEFAULT_FORWARD_LIMITS.attemptMs);
  assert.deepEqual(
    world.asked.map(({ port }) => port),
    [1, 2],
  );
  world.answer(0);
  assert.deepEqual(world.outcomes, ['0']);
  world.assertQuiet();
});

test('nobody answers: the client knows within the limit', async () => {
  const world = new World(2);
  world.ask('a.test');
  await world.clock.advance(DEFAULT_FORWARD_LIMITS.flightMs);
  assert.deepEqual(world.outcomes, ['unanswered']);
  assert.deepEqual(
    world.asked.map(({ port }) => port),
    [1, 2, 1, 2],
  );
  assert.equal(world.asked.length, DEFAULT_FORWARD_LIMITS.attemptsMax);
  world.assertQuiet();
});

test('a refusal is asked elsewhere at once, and told where all refuse', () => {
  const world = new World(2);
  world.ask('a.test');
  world.answer(0, { rcode: RCODE.REFUSED });
  world.answer(1, { rcode: RCODE.SERVFAIL });
  assert.deepEqual(world.outcomes, ['2']);
  assert.deepEqual(
    world.asked.map(({ port }) => port),
    [1, 2],
  );
  world.assertQuiet();
});

test('an upstream that can not be reached costs no time, and rests after some failures', async () => {
  const world = new World(2);
  for (let round = 0; round < DEFAULT_FORWARD_LIMITS.failuresMax; round++) {
    world.ask(`${round}.test`);
    world.asked.at(-1)?.events.failed(new Error('refused'));
    world.answer(world.asked.length - 1);
  }
  world.ask('next.test');
  assert.equal(world.asked.at(-1)?.port, 2);
  world.answer(world.asked.length - 1);
  await world.clock.advance(DEFAULT_FORWARD_LIMITS.restMs);
  world.ask('later.test');
  assert.equal(world.asked.at(-1)?.port, 1);
  world.answer(world.asked.length - 1);
  world.assertQuiet();
});

test('a truncated answer is asked for again over TCP', () => {
  const world = new World(1);
  world.ask('a.test');
  world.answer(0, { flags: packet.TRUNCATED_RESPONSE });
  assert.deepEqual(
    world.asked.map(({ way }) => way),
    ['udp', 'tcp'],
  );
  world.answer(1);
  assert.deepEqual(world.outcomes, ['0']);
  world.assertQuiet();
});

test('an answer with another id or another question is not taken', () => {
  const world = new World(1);
  world.ask('a.test');
  world.answer(0, { id: ((world.asked[0]?.id ?? 0) + 1) & 0xffff });
  world.answer(0, { name: 'b.test' });
  world.asked[0]?.events.message(Buffer.from([0]));
  assert.deepEqual(world.outcomes, []);
  world.answer(0, { name: 'A.tEsT' });
  assert.deepEqual(world.outcomes, ['0']);
  assert.deepEqual(world.attempts, ['1 false-message', '1 false-message', '1 false-message', '1 answered']);
  world.assertQuiet();
});

test('many who ask the same cost one question, which also ends a circle', () => {
  const world = new World(1);
  for (let client = 0; client < 50; client++) world.ask('a.test', `10.0.0.${client}`);
  assert.equal(world.asked.length, 1);
  world.answer(0);
  assert.equal(world.outcomes.length, 50);
  world.assertQuiet();
});

test('answers are kept by their TTL, "no such name" by the SOA, and past it while nobody answers', async () => {
  const world = new World(1);
  world.ask('a.test');
  world.answer(0, { ttl: 60 });
  world.ask('n.test');
  world.answer(1, { rcode: RCODE.NXDOMAIN, soa: 5 });
  await world.clock.advance(4_000);
  world.ask('A.test');
  world.ask('n.test');
  assert.deepEqual(world.outcomes, ['0', '3', '0 4s', '3 4s']);
  await world.clock.advance(1_000);
  world.ask('n.test');
  assert.equal(world.asked.length, 3);
  world.answer(2);
  await world.clock.advance(60_000);
  world.ask('a.test');
  await world.clock.advance(DEFAULT_FORWARD_LIMITS.flightMs);
  assert.equal(world.outcomes.at(-1), '0 stale 65s');
  world.assertQuiet();
});

test('the cache holds no more entries and bytes than its limits', () => {
  const few = new World(1, { cacheEntriesMax: 10 });
  const small = new World(1, { cacheBytesMax: 2_000 });
  for (const world of [few, small]) {
    for (let index = 0; index < 30; index++) {
      world.ask(`${index}.test`);
      world.answer(index);
    }
  }
  assert.equal(few.forwarder.stats().cacheEntries, 10);
  const { cacheBytes, cacheEntries } = small.forwarder.stats();
  assert.ok(cacheBytes <= 2_000 && cacheEntries > 1, `${cacheBytes} bytes, ${cacheEntries} entries`);
});

test('a client that asks for too much is refused while others are served', () => {
  const limits = {
    flightsMax: 20,
    flightsSharedMax: 10,
    waitingPerClientMax: 15,
    waitingPerClientReserved: 2,
  };
  const world = new World(1, limits);
  for (let index = 0; index < 12; index++) world.ask(`${index}.flood.test`, '10.0.0.66');
  assert.deepEqual(world.outcomes, ['refused', 'refused']);
  for (const client of ['10.0.0.1', '10.0.0.2'])
    for (let n = 0; n < 3; n++) world.ask(`${n}.${client}.test`, client);
  assert.deepEqual(world.outcomes, ['refused', 'refused', 'refused', 'refused']);
  assert.equal(world.asked.length, 14);
  for (let index = 0; index < 8; index++) world.ask('0.flood.test', '10.0.0.66');
  assert.equal(world.outcomes.length, 7, 'beyond 15 under way');
  for (let index = 0; index < 14; index++) world.ask(`x.test`, `10.0.1.${index}`);
  for (let index = 0; index < 9; index++) world.ask(`${index}.y.test`, `10.0.2.${index}`);
  assert.equal(world.forwarder.stats().flights, 20);
  world.forwarder.close();
  world.assertQuiet();
});
