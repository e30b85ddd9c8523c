import { createHash } from 'node:crypto';
import { HeddleError } from '../../common/errors.ts';
import { IDENTITY } from '../maps/constants.ts';
import type { PolicyNumbers } from './plan.ts';

/** The highest number of each sort: above it the bit of CIDR classes begins. */
const NUMBER_MAX = IDENTITY.CIDR_BIT - 1;

export const NO_NUMBERS: PolicyNumbers = {
  identities: {},
  sets: {},
  classes: {},
  next: { identity: IDENTITY.FIRST_POD, set: 1, class: 1 },
};

/**
 * Numbers for what is in use: those that were given before stay, new ones go on from the last one ever given, so that a number
 * that fell free comes back after two thousand million others at the earliest.
 */
export class Numbering {
  readonly #first: number;
  readonly #before: ReadonlyMap<string, number>;
  readonly #inUse = new Map<string, number>();
  readonly #used: Set<number>;
  #next: number;

  constructor(before: Readonly<Record<string, number>>, next: number, first: number) {
    this.#first = first;
    this.#before = new Map(Object.entries(before));
    this.#used = new Set(this.#before.values());
    this.#next = next;
  }

  /** The number of what `key` stands for. */
  of(key: string): number {
    const hash = hashOf(key);
    const known = this.#inUse.get(hash) ?? this.#before.get(hash) ?? this.#give();
    this.#inUse.set(hash, known);
    return known;
  }

  inUse(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#inUse);
  }

  get next(): number {
    return this.#next;
  }

  #give(): number {
    for (let tries = 0; tries <= this.#used.size; tries++) {
      const number = this.#next;
      this.#next = number >= NUMBER_MAX ? this.#first : number + 1;
      if (this.#used.has(number)) continue;
      this.#used.add(number);
      return number;
    }
    throw new HeddleError('policy-numbers', 'every policy number is in use');
  }
}

/** Keys are as long as the labels of a pod; numbers are written to disk by this. */
function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('base64url').slice(0, 22);
}
