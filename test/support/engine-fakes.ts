import { silentLogger } from '../../common/log.ts';
import { seededRandom } from '../../common/random.ts';
import type { ReasonCode } from '../../common/reasons.ts';
import type { AttemptOutcome } from '../../model/decision-types.ts';
import type {
  Credentials,
  IdentityStage,
  PolicyStage,
  RequestInfo,
  RequestResult,
  TelemetryStage,
} from '../../proxy/stage.ts';
import { FakeConfig } from './fake-config.ts';
import { fakeDecisions } from './fake-decisions.ts';

/** Stages that do as the test says and remember what they were told. */

export class FakePolicy implements PolicyStage {
  readonly settled: AttemptOutcome[] = [];
  inFlightNow = 0;
  refuse: ReasonCode | undefined;
  breaker() {
    return 'closed' as const;
  }
  ejected() {
    return false;
  }
  inFlight() {
    return this.inFlightNow;
  }
  latencyMs() {
    return undefined;
  }
  roundRobin() {
    return 0;
  }
  requestsInFlight() {
    return this.inFlightNow;
  }
  retriesInFlight() {
    return 0;
  }
  retryBudgetAllows() {
    return true;
  }
  begin() {
    if (this.refuse !== undefined) {
      const error = {
        code: this.refuse,
        source: 'mesh',
        retrySafety: 'always',
        message: 'as the test says',
      } as const;
      return { ok: false, error } as const;
    }
    this.inFlightNow++;
    let state: 'begun' | 'settled' | 'finished' = 'begun';
    return {
      ok: true,
      value: {
        settle: (outcome: AttemptOutcome) => {
          if (state !== 'begun') throw new Error(`settled when ${state}`);
          state = 'settled';
          this.settled.push(outcome);
        },
        finish: () => {
          if (state !== 'settled') throw new Error(`finished when ${state}`);
          state = 'finished';
          this.inFlightNow--;
        },
      },
    } as const;
  }
  retain() {
    this.settled.length = 0;
  }
  close() {
    this.settled.length = 0;
  }
}

export class FakeTelemetry implements TelemetryStage {
  readonly opened: RequestInfo[] = [];
  readonly results: RequestResult[] = [];
  readonly events: string[] = [];
  attemptsEnded = 0;
  /** Statuses and reasons that copies ended with. */
  readonly mirrored: (number | string)[] = [];

  open(info: RequestInfo) {
    this.opened.push(info);
    let open = true;
    const attempt = (end: (outcome: AttemptOutcome) => void, spanId = 'b7ad6b7169203331') => ({
      traceparent: `00-0af7651916cd43dd8448eb211c80319c-${spanId}-01`,
      tracestate: undefined,
      b3: undefined,
      end,
    });
    return {
      reasons: undefined,
      requestId: 'request-1',
      decided: () => undefined,
      attempt: () => attempt(() => this.attemptsEnded++),
      mirror: () =>
        attempt((outcome) => {
          this.mirrored.push(outcome.kind === 'response' ? outcome.status : outcome.failure.code);
        }, 'c7ad6b7169203331'),
      end: (result: RequestResult) => {
        if (!open) throw new Error('a request ended twice');
        open = false;
        this.results.push(result);
      },
    };
  }

  connection(direction: string, event: string) {
    this.events.push(`${direction} ${event}`);
  }
}

export class FakeIdentity implements IdentityStage {
  #current: Credentials | undefined;
  readonly #listeners = new Set<(credentials: Credentials) => void>();

  current(): Credentials | undefined {
    return this.#current;
  }

  set(credentials: Credentials): void {
    this.#current = credentials;
    for (const listener of this.#listeners) listener(credentials);
  }

  onChange(listener: (credentials: Credentials) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export interface Fakes {
  readonly config: FakeConfig;
  readonly identity: FakeIdentity;
  readonly policy: FakePolicy;
  readonly telemetry: FakeTelemetry;
}

/** A whole set of fakes, and what of `StackDeps` they stand for. */
export function makeFakes() {
  const config = new FakeConfig();
  const fakes: Fakes = {
    config,
    identity: new FakeIdentity(),
    policy: new FakePolicy(),
    telemetry: new FakeTelemetry(),
  };
  return {
    ...fakes,
    decisions: fakeDecisions(config),
    random: seededRandom(1),
    log: silentLogger,
    resolver: {
      resolve: (host: string) =>
        host === 'outside.example' ? Promise.resolve('10.9.9.9') : Promise.reject(new Error('ENOTFOUND')),
    },
  };
}
