import type { ForeignMessage, QuestionOptions } from '../wire/message.ts';
import { foldedBytes } from '../wire/names.ts';
import type { Question } from '../wire/query.ts';
import { AnswerCache } from './cache.ts';
import { Flight, type FlightDeps } from './flight.ts';

export type ForwardOutcome =
  | {
      readonly kind: 'answered';
      readonly message: ForeignMessage;
      readonly ageS: number;
      readonly stale: boolean;
    }
  /** No upstream answered in time, or there is none. */
  | { readonly kind: 'unanswered' }
  /** This client, or all together, has too much under way. */
  | { readonly kind: 'refused' };

interface UnderWay {
  readonly flight: Flight;
  readonly waiting: Set<(message: ForeignMessage | undefined) => void>;
}

export interface ForwarderStats {
  readonly cacheEntries: number;
  readonly cacheBytes: number;
  readonly flights: number;
  readonly waiting: number;
}

/**
 * Asks others what isn't the cluster's: from the cache, else upstream, one question at a time for all who ask the same.
 * A question that comes back to us joins its own flight, so a circle ends there.
 */
export class Forwarder {
  readonly #deps: FlightDeps;
  readonly #cache: AnswerCache;
  readonly #flights = new Map<string, UnderWay>();
  readonly #waitingByClient = new Map<string, number>();
  #waiting = 0;
  #closed = false;

  constructor(deps: FlightDeps) {
    this.#deps = deps;
    this.#cache = new AnswerCache(deps.limits);
  }

  stats(): ForwarderStats {
    const { entries: cacheEntries, bytes: cacheBytes } = this.#cache;
    return { cacheEntries, cacheBytes, flights: this.#flights.size, waiting: this.#waiting };
  }

  /** Calls `done` once: at once where the cache or a limit answers, and always within `flightMs`. */
  ask(
    question: Question,
    options: QuestionOptions,
    client: string,
    done: (outcome: ForwardOutcome) => void,
  ): void {
    const key = `${options.dnssecOk ? 'd' : ''}${options.checkingDisabled ? 'c' : ''} ${foldedBytes(question.bytes.subarray(0, -4))}${question.bytes.toString('latin1', question.bytes.length - 4)}`;
    const cached = this.#cache.get(key, this.#deps.clock.now());
    if (cached !== undefined && !cached.stale) {
      done({ kind: 'answered', ...cached });
      return;
    }
    const underWay = this.#flights.get(key);
    if (this.#closed || !this.#admits(client, underWay === undefined)) {
      done({ kind: 'refused' });
      return;
    }
    this.#count(client, 1);
    const settle = (message: ForeignMessage | undefined) => {
      this.#count(client, -1);
      if (message !== undefined) done({ kind: 'answered', message, ageS: 0, stale: false });
      else if (cached !== undefined) done({ kind: 'answered', ...cached });
      else done({ kind: 'unanswered' });
    };
    if (underWay !== undefined) underWay.waiting.add(settle);
    else this.#fly(key, question, options, settle);
  }

  #fly(
    key: string,
    question: Question,
    options: QuestionOptions,
    settle: (message: ForeignMessage | undefined) => void,
  ): void {
    const waiting = new Set([settle]);
    const flight = new Flight(question, options, this.#deps, (message) => {
      this.#flights.delete(key);
      if (message !== undefined) this.#cache.put(key, message, this.#deps.clock.now());
      for (const one of waiting) one(message);
    });
    this.#flights.set(key, { flight, waiting });
    flight.start();
  }

  /** Few questions of each client always have room; who asks for many gets what the others leave. */
  #admits(client: string, needsFlight: boolean): boolean {
    const { limits } = this.#deps;
    const own = this.#waitingByClient.get(client) ?? 0;
    if (own >= limits.waitingPerClientMax || this.#waiting >= limits.waitingMax) return false;
    if (!needsFlight || this.#flights.size < limits.flightsSharedMax) return true;
    return own < limits.waitingPerClientReserved && this.#flights.size < limits.flightsMax;
  }

  #count(client: string, change: number): void {
    this.#waiting += change;
    const left = (this.#waitingByClient.get(client) ?? 0) + change;
    if (left === 0) this.#waitingByClient.delete(client);
    else this.#waitingByClient.set(client, left);
  }

  /** Ends what is under way; those who wait are told that nobody answered. */
  close(): void {
    this.#closed = true;
    for (const { flight } of [...this.#flights.values()]) flight.cancel();
  }
}
