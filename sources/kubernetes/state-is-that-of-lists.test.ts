import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { silentLogger } from '../../common/log.ts';
import { type Random, seededRandom } from '../../common/random.ts';
import { namespacedName, type SourcedObject } from '../../model/objects.ts';
import { FakeApi } from '../../test/support/kubernetes/fake-api.ts';
import { NO_FAULTS, seededFaults } from '../../test/support/kubernetes/faults.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import type { ObjectsState } from '../source.ts';
import { kubernetesClient } from './client.ts';
import { KINDS } from './kinds.ts';
import { RELIST_MS, WATCH_LASTS_MS } from './limits.ts';
import { trimObject } from './trim.ts';
import { type ClusterSource, watchCluster } from './watch.ts';

leakCheck();

const STEPS = 60;
const SEEDS = 300;
/** A silent watch is dropped within this; so is what a fault leaves behind that the stream gives away. */
const TOLD_HEALS_MS = WATCH_LASTS_MS * 1.5 + 200_000;
/** What the stream doesn't give away waits for the next list of all. */
const SILENT_HEALS_MS = RELIST_MS * 1.5 + TOLD_HEALS_MS;
/** Three kinds, through all faults: what a loop without pause would reach in a blink. */
const REQUESTS_PER_HOUR_MAX = 4_000;

const FOLLOWED = [KINDS.service, KINDS.endpointSlice, KINDS.httpRoute];

class Run {
  readonly clock = new VirtualClock();
  readonly api = new FakeApi(FOLLOWED);
  readonly random: Random;
  readonly source: ClusterSource;
  told: ObjectsState | undefined;
  readonly #losesSilently: boolean;

  constructor(seed: number, losesSilently: boolean) {
    this.random = seededRandom(seed);
    this.#losesSilently = losesSilently;
    for (let index = 0; index < 5; index++) this.#change();
    this.#breakThings();
    const { clock } = this;
    this.source = watchCluster({
      client: kubernetesClient({ transport: this.api.transport(), clock }),
      kinds: FOLLOWED.map((kind) => ({ kind })),
      ...{ clock, random: seededRandom(seed + 1), log: silentLogger },
      onChange: (state) => this.#take(state),
    });
    this.source.synced.then(
      () => this.#take(this.source.current()),
      () => undefined,
    );
  }

  async step(): Promise<void> {
    const draw = this.random.next();
    const { api } = this;
    if (draw < 0.6) for (let count = this.#upTo(4); count >= 0; count--) this.#change();
    else if (draw < 0.65) api.compact();
    else if (draw < 0.7) api.bookmark();
    else if (draw < 0.74) api.endWatches();
    else if (draw < 0.78) api.restart();
    else if (draw < 0.8) api.restart(this.random.next() < 0.5 ? 'lower' : 'higher');
    else if (draw < 0.82) this.#toggleRoutes();
    else if (draw < 0.84) api.allow(KINDS.service, this.random.next() < 0.5 ? 'forbidden' : 'allowed');
    else if (draw < 0.88) this.#breakThings();
    else if (draw < 0.9) api.faults = NO_FAULTS;
    await this.clock.advance(this.random.next() ** 4 * 60_000);
  }

  /** Everything works again; how long it takes until nothing is left of what went wrong. */
  async heal(withinMs: number): Promise<number> {
    const { api, clock } = this;
    api.faults = NO_FAULTS;
    api.allow(KINDS.service, 'allowed');
    for (let passedMs = 0; passedMs <= withinMs; passedMs += 20_000) {
      await clock.advance(20_000);
      const whole = this.source.current().problems.length === 0;
      if (whole && isDeepStrictEqual(this.held(), this.wanted())) return passedMs;
    }
    return Number.POSITIVE_INFINITY;
  }

  held(): readonly object[] {
    return sorted(this.source.current().objects.map(({ object }) => object));
  }

  wanted(): readonly object[] {
    return sorted(this.api.objects().map(trimObject));
  }

  #breakThings(): void {
    const rates = { requests: this.random.next() ** 2, events: this.random.next() ** 2 / 2 };
    this.api.faults = seededFaults(this.random, { ...rates, losesSilently: this.#losesSilently });
  }

  #change(): void {
    const kind = FOLLOWED[this.#upTo(FOLLOWED.length)] ?? KINDS.service;
    const name = `${kind.plural}-${this.#upTo(6)}`;
    const metadata = { namespace: this.random.next() < 0.5 ? 'shop' : 'bank', name };
    if (kind === KINDS.httpRoute && !this.#hasRoutes) return;
    const key = `${kind.kind} ${namespacedName({ metadata })}`;
    const known = this.api.objects().find((object) => keyOf({ object, origin }) === key);
    const draw = this.random.next();
    if (draw < 0.25) this.api.delete(kind, metadata);
    // A new version that says what the one before said: somebody else's managed fields.
    else if (draw < 0.4 && known !== undefined) this.api.put(kind, known);
    else this.api.put(kind, { metadata, spec: { revision: this.#revision++ } });
  }

  #revision = 0;

  #hasRoutes = true;
  #toggleRoutes(): void {
    if (this.#hasRoutes) this.api.uninstall(KINDS.httpRoute);
    else this.api.install(KINDS.httpRoute);
    this.#hasRoutes = !this.#hasRoutes;
  }

  #upTo(count: number): number {
    return Math.floor(this.random.next() * count);
  }

  /** What didn't change is the same object, and every kind was there from the beginning. */
  #take(state: ObjectsState): void {
    const before = new Map(this.told?.objects.map((one) => [keyOf(one), one]));
    for (const one of state.objects) {
      const known = before.get(keyOf(one));
      if (known !== undefined && isDeepStrictEqual(known, one))
        assert.equal(known, one, `${keyOf(one)} is another`);
    }
    this.told = state;
  }
}

const keyOf = ({ object }: SourcedObject) => `${object.kind} ${namespacedName(object)}`;

function sorted(objects: readonly SourcedObject['object'][]): readonly object[] {
  return objects.toSorted((a, b) => (keyOf({ object: a, origin }) < keyOf({ object: b, origin }) ? -1 : 1));
}
const origin = { source: '', line: 0 };

async function follow(seed: number, losesSilently: boolean): Promise<void> {
  const run = new Run(seed, losesSilently);
  try {
    for (let step = 0; step < STEPS; step++) await run.step();
    const healedMs = await run.heal(losesSilently ? SILENT_HEALS_MS : TOLD_HEALS_MS);
    assert.deepEqual(run.held(), run.wanted(), `seed ${seed}`);
    assert.ok(Number.isFinite(healedMs), `seed ${seed} healed`);
    await run.source.synced;
    assert.equal(run.told, run.source.current(), `seed ${seed}: the last state was told`);
    assert.deepEqual(run.source.current().problems, [], `seed ${seed}`);
    const hours = run.clock.now() / 3_600_000;
    const requests = run.api.lists + run.api.looks + run.api.watches;
    assert.ok(
      requests < REQUESTS_PER_HOUR_MAX * Math.max(hours, 0.2),
      `seed ${seed}: ${requests} requests in ${hours} h`,
    );
  } finally {
    run.source.close();
    await run.clock.advance(1_000);
  }
}

test('after any faults that a stream gives away, the state is soon what lists say', async () => {
  for (let seed = 0; seed < SEEDS; seed++) await follow(seed, false);
});

test('what got lost without a trace is there after the next list of all', async () => {
  for (let seed = 0; seed < SEEDS / 10; seed++) await follow(10_000 + seed, true);
});
