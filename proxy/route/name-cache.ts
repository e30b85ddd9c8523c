import type { Clock } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Resolver } from '../stack-context.ts';

/** The system's resolver tells no time to live; a name may move while an app runs. */
const FOUND_MS = 5_000;
const MISSING_MS = 1_000;
/** How long a request waits for its name. The system may go on asking for much longer, and can't be stopped. */
const LOOKUP_MS = 5_000;
/** Names asked for at once: the system asks for four at a time, and each may take it half a minute. */
const LOOKUPS_MAX = 64;
const NAMES_MAX = 1_024;

interface Entry {
  readonly answer: Promise<string>;
  /** Undefined while it is being asked for. */
  untilMs: number | undefined;
}

/** Remembers for a moment what `resolver` says, and asks once for what many requests want to know. */
export class NameCache implements Resolver {
  readonly #resolver: Resolver;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  #lookups = 0;

  constructor(resolver: Resolver, clock: Clock) {
    this.#resolver = resolver;
    this.#clock = clock;
  }

  resolve(host: string): Promise<string> {
    const known = this.#entries.get(host);
    if (known !== undefined && (known.untilMs === undefined || this.#clock.now() < known.untilMs)) {
      return known.answer;
    }
    if (this.#lookups >= LOOKUPS_MAX) {
      return Promise.reject(new HeddleError('resolve', `${LOOKUPS_MAX} names are being looked up already`));
    }
    const entry: Entry = { answer: this.#ask(host), untilMs: undefined };
    this.#entries.delete(host);
    if (this.#entries.size >= NAMES_MAX) this.#dropOldest();
    this.#entries.set(host, entry);
    entry.answer.then(
      () => {
        entry.untilMs = this.#clock.now() + FOUND_MS;
      },
      () => {
        entry.untilMs = this.#clock.now() + MISSING_MS;
      },
    );
    return entry.answer;
  }

  #ask(host: string): Promise<string> {
    this.#lookups++;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(
        LOOKUP_MS,
        () => reject(new HeddleError('resolve', `no answer from DNS within ${LOOKUP_MS} ms`)),
        { background: true },
      );
      const over = () => {
        this.#lookups--;
        timer.cancel();
      };
      this.#resolver.resolve(host).then(
        (address) => {
          over();
          resolve(address);
        },
        (thrown: unknown) => {
          over();
          reject(new HeddleError('resolve', messageOf(thrown), { cause: thrown }));
        },
      );
    });
  }

  #dropOldest(): void {
    for (const host of this.#entries.keys()) {
      this.#entries.delete(host);
      return;
    }
  }
}
