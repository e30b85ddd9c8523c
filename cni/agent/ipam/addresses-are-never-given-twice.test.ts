import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLogger } from '../../../common/log.ts';
import { leakCheck } from '../../../test/support/leak-check.ts';
import type { AddressFiles } from './files.ts';
import { type AddressLease, type AddressOwner, changesMax, Ipam } from './ipam.ts';

leakCheck();

class Killed extends Error {}

/** Files in memory whose process can be killed in the middle of the next write. */
class FragileFiles implements AddressFiles {
  snapshot: string | undefined;
  changes = '';
  setAsideCount = 0;
  /** Characters of the next write that arrive; or between the two steps of a replacement. Undefined: no accident. */
  killAt: number | 'between' | undefined;

  read() {
    return { snapshot: this.snapshot, changes: this.changes };
  }

  append(line: string) {
    const record = `${line}\n`;
    if (this.killAt !== undefined) {
      this.changes += record.slice(0, this.killAt === 'between' ? 0 : this.killAt);
      throw new Killed();
    }
    this.changes += record;
  }

  replace(snapshot: string) {
    if (typeof this.killAt === 'number') throw new Killed();
    this.snapshot = snapshot;
    if (this.killAt === 'between') throw new Killed();
    this.changes = '';
  }

  setAside() {
    this.setAsideCount++;
  }

  close() {}
}

const owner = (index: number): AddressOwner => ({ containerId: `c${index}`, ifname: 'eth0' });

function open(files: AddressFiles, blocks: readonly string[], found: readonly AddressLease[] = []): Ipam {
  return new Ipam(files, { blocks, found, log: silentLogger });
}

type Step =
  | { readonly kind: 'give' | 'take'; readonly index: number }
  | {
      readonly kind: 'kill';
      readonly index: number;
      readonly at: number | 'between';
      readonly taking: boolean;
    }
  | { readonly kind: 'restart' };

const index = fc.nat({ max: 11 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('give' as const), index }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const), index }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('kill' as const),
        index,
        at: fc.oneof(fc.nat({ max: 200 }), fc.constant('between' as const)),
        taking: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  ),
  { maxLength: 120 },
);

/** What the caller was told: an address it was given counts until it was told that it was taken back. */
class Witness {
  readonly has = new Map<number, readonly string[]>();

  given(pod: number, ips: readonly string[]) {
    const before = this.has.get(pod);
    if (before !== undefined) assert.deepEqual(ips, before, 'the same owner gets the same addresses');
    for (const [other, theirs] of this.has)
      if (other !== pod)
        for (const ip of ips) assert.ok(!theirs.includes(ip), `${ip} was given to c${other} and c${pod}`);
    this.has.set(pod, ips);
  }
}

/** A step during which the process dies; what it did may or may not have been kept. */
function killed(files: FragileFiles, ipam: Ipam, step: Step & { kind: 'kill' }, witness: Witness): void {
  files.killAt = step.at;
  try {
    if (step.taking) {
      ipam.release(owner(step.index));
      witness.has.delete(step.index);
    } else witness.given(step.index, ipam.allocate(owner(step.index)));
  } catch (thrown) {
    if (!(thrown instanceof Killed) && !isExhausted(thrown)) throw thrown;
    // Nobody knows whether it was taken back: the runtime asks again, and until then it is not in use.
    if (step.taking) witness.has.delete(step.index);
  }
  files.killAt = undefined;
}

function isExhausted(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'addresses-exhausted';
}

function play(all: readonly Step[], blocks: readonly string[]): void {
  const files = new FragileFiles();
  const witness = new Witness();
  let ipam = open(files, blocks);
  for (const step of all) {
    if (step.kind === 'give') {
      try {
        witness.given(step.index, ipam.allocate(owner(step.index)));
      } catch (thrown) {
        if (!isExhausted(thrown)) throw thrown;
      }
    } else if (step.kind === 'take') {
      ipam.release(owner(step.index));
      witness.has.delete(step.index);
      assert.equal(ipam.find(owner(step.index)), undefined);
    } else {
      if (step.kind === 'kill') killed(files, ipam, step, witness);
      ipam = open(files, blocks);
    }
    for (const [pod, ips] of witness.has) assert.deepEqual(ipam.find(owner(pod)), ips);
  }
}

test('whatever is given, taken back and killed in between, no two pods have one address', () => {
  for (const blocks of [['10.0.0.0/29'], ['fd10::/125', '10.0.0.0/24'], ['10.0.0.0/24', 'fd10::/64']])
    fc.assert(
      fc.property(steps, (all) => play(all, blocks)),
      { numRuns: 200 },
    );
});

test('a planted second owner of an address is seen by the test above', () => {
  const witness = new Witness();
  witness.given(1, ['10.0.0.2']);
  assert.throws(() => witness.given(2, ['10.0.0.2']), /10\.0\.0\.2 was given to c1 and c2/);
});

test('a process that is killed at any byte of a write keeps all that was given before', () => {
  for (let at = 0; at < 160; at++) {
    const files = new FragileFiles();
    const first = open(files, ['10.0.0.0/24', 'fd10::/64']);
    const ips = first.allocate(owner(1));
    files.killAt = at;
    let told: readonly string[] | undefined;
    try {
      told = first.allocate(owner(2));
    } catch (thrown) {
      assert.ok(thrown instanceof Killed);
    }
    files.killAt = undefined;
    const second = open(files, ['10.0.0.0/24', 'fd10::/64']);
    assert.deepEqual(second.find(owner(1)), ips);
    if (told !== undefined) assert.deepEqual(second.find(owner(2)), told);
    assert.notDeepEqual(second.allocate(owner(3)), ips);
  }
});

test('changes become a snapshot before they are too many', () => {
  const files = new FragileFiles();
  const ipam = open(files, ['10.0.0.0/16']);
  for (let pod = 0; pod <= changesMax; pod++) ipam.allocate(owner(pod));
  assert.equal(files.changes.split('\n').length - 1, 1);
  const again = open(files, ['10.0.0.0/16']);
  assert.equal(again.leases().length, changesMax + 1);
  assert.equal(files.setAsideCount, 0);
});
