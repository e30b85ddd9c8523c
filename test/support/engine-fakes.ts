import { silentLogger } from '../../common/log.ts';
import { seededRandom } from '../../common/random.ts';
import type { ReasonCode } from '../../common/reasons.ts';
import { statusOfReason } from '../../common/reasons.ts';
import type {
  Answer,
  AttemptOutcome,
  Forward,
  MirrorTarget,
  RedirectAnswer,
} from '../../model/decision-types.ts';
import {
  type ConnectionLimits,
  DEFAULT_CLUSTER_POLICY,
  DEFAULT_REQUEST_POLICY,
  type RetryPolicy,
  type TimeoutPolicy,
} from '../../model/policy-types.ts';
import {
  type AppProtocol,
  type Cluster,
  DEFAULT_SIDECAR_SETTINGS,
  type Destination,
  type Endpoint,
  type InboundConfig,
  type RouteRule,
  type SidecarSettings,
  type Snapshot,
} from '../../model/snapshot.ts';
import type { DecisionFunctions } from '../../proxy/route/decisions.ts';
import type {
  ConfigStage,
  Credentials,
  FoundDestination,
  IdentityStage,
  PolicyStage,
  RequestInfo,
  RequestResult,
  TelemetryStage,
} from '../../proxy/stage.ts';

/** Stages that do as the test says and remember what they were told. */

export interface FakeService {
  readonly host: string;
  readonly port: number;
  readonly protocol?: AppProtocol;
  readonly endpoints: readonly FakeEndpoint[];
  readonly retry?: Partial<RetryPolicy>;
  readonly timeouts?: Partial<TimeoutPolicy>;
  readonly limits?: Partial<ConnectionLimits>;
  readonly rule?: Partial<RouteRule>;
  readonly delayMs?: number;
  /** The mesh answers itself. */
  readonly answer?: ReasonCode;
  /** The mesh answers itself with a redirect to there. */
  readonly redirect?: string;
  /** Clusters that get a copy of each request, each at its first endpoint. */
  readonly mirrors?: readonly string[];
}

export interface FakeEndpoint {
  readonly address: string;
  readonly port: number;
  readonly identities?: readonly string[];
}

export class FakeConfig implements ConfigStage {
  readonly services = new Map<string, FakeService>();
  readonly clusters = new Map<string, Cluster>();
  inboundConfig: InboundConfig | undefined;
  found: (host: string, port: number) => FoundDestination | Promise<FoundDestination> = (host, port) =>
    this.services.has(`${host}:${port}`) ? { kind: 'mesh', key: `${host}:${port}` } : { kind: 'external' };

  constructor() {
    this.inboundConfig = {
      ports: [],
      defaultMode: 'PERMISSIVE',
      settings: DEFAULT_SIDECAR_SETTINGS,
      draining: false,
    };
  }

  add(service: FakeService): void {
    const key = `${service.host}:${service.port}`;
    this.services.set(key, service);
    this.clusters.set(key, {
      name: key,
      namespace: 'shop',
      service: service.host,
      port: service.port,
      protocol: service.protocol ?? 'auto',
      policy: {
        ...DEFAULT_CLUSTER_POLICY,
        limits: { ...DEFAULT_CLUSTER_POLICY.limits, ...service.limits },
      },
      endpoints: service.endpoints.map(endpointOf),
    });
  }

  settings(change: Partial<SidecarSettings>): void {
    if (this.inboundConfig === undefined) return;
    this.inboundConfig = { ...this.inboundConfig, settings: { ...this.inboundConfig.settings, ...change } };
  }

  snapshot(): Snapshot {
    return {
      destination: (key) => {
        const service = this.services.get(key);
        return service === undefined ? undefined : destinationOf(service);
      },
      cluster: (name) => this.clusters.get(name),
    };
  }

  inbound(): InboundConfig | undefined {
    return this.inboundConfig;
  }

  find(host: string, port: number): FoundDestination | Promise<FoundDestination> {
    return this.found(host, port);
  }
}

function endpointOf(fake: FakeEndpoint): Endpoint {
  return {
    key: `${fake.address}:${fake.port}`,
    address: fake.address,
    port: fake.port,
    pod: undefined,
    node: undefined,
    zone: undefined,
    weight: 1,
    health: 'ready',
    mtls: fake.identities !== undefined,
    identities: fake.identities ?? [],
  };
}

function destinationOf(service: FakeService): Destination {
  return {
    key: `${service.host}:${service.port}`,
    namespace: 'shop',
    service: service.host,
    port: service.port,
    protocol: service.protocol ?? 'auto',
    addresses: [],
    entries: [],
    defaultCluster: `${service.host}:${service.port}`,
    policy: DEFAULT_REQUEST_POLICY,
  };
}

/** First endpoint first; the next untried one on a retry that the policy's words allow. */
function fakeDecisions(config: FakeConfig): DecisionFunctions {
  const mirrorsOf = (names: readonly string[]): MirrorTarget[] =>
    names.map((name) => {
      const cluster = config.clusters.get(name);
      const endpoint = cluster?.endpoints[0];
      if (cluster === undefined || endpoint === undefined) throw new Error(`no mirror ${name}`);
      return { cluster, endpoint };
    });
  const decideFor = (key: string): Forward | Answer => {
    const service = config.services.get(key);
    const cluster = config.clusters.get(key);
    if (service === undefined || cluster === undefined) throw new Error(`unexpected destination ${key}`);
    const rule = service.rule === undefined ? undefined : ruleOf(service.rule);
    if (service.answer !== undefined) {
      return {
        kind: 'answer',
        status: statusOfReason(service.answer),
        failure: { code: service.answer, source: 'mesh', retrySafety: 'never', message: 'as the test says' },
        rule,
        cluster,
        delayMs: service.delayMs ?? 0,
      };
    }
    const endpoint = cluster.endpoints[0];
    if (endpoint === undefined) throw new Error(`no endpoint of ${key}`);
    const policy = {
      ...DEFAULT_REQUEST_POLICY,
      retry: { ...DEFAULT_REQUEST_POLICY.retry, ...service.retry },
      timeouts: { ...DEFAULT_REQUEST_POLICY.timeouts, ...service.timeouts },
    };
    const destination = destinationOf(service);
    return {
      kind: 'forward',
      destination,
      rule,
      match: rule?.matches[0],
      backend: rule?.backends[0],
      mirrors: mirrorsOf(service.mirrors ?? []),
      cluster,
      endpoint,
      policy,
      timeouts: policy.timeouts,
      delayMs: service.delayMs ?? 0,
    };
  };
  return {
    decide: (_snapshot, key) => redirectOf(config.services.get(key)) ?? decideFor(key),
    decideTcp: (_snapshot, key) => decideFor(key),
    afterAttempt: (decision, outcome, history, request) => {
      const next = decision.cluster.endpoints[history.attempts % decision.cluster.endpoints.length];
      const wanted = isRetried(decision, outcome, request.method);
      if (!wanted || next === undefined || history.responseStarted || !history.bodyReplayable) {
        return { kind: 'give-up', code: undefined };
      }
      if (history.attempts > decision.policy.retry.attempts) return { kind: 'give-up', code: undefined };
      return { kind: 'retry', delayMs: decision.policy.retry.backoffBaseMs, endpoint: next };
    },
  };
}

function redirectOf(service: FakeService | undefined): RedirectAnswer | undefined {
  if (service?.redirect === undefined) return undefined;
  return {
    kind: 'redirect',
    destination: destinationOf(service),
    rule: ruleOf(service.rule ?? {}),
    status: service.rule?.redirect?.status ?? 302,
    location: service.redirect,
    cluster: undefined,
    delayMs: service.delayMs ?? 0,
  };
}

function isRetried(decision: Forward, outcome: AttemptOutcome, method: string): boolean {
  const { retry } = decision.policy;
  const idempotent = retry.methods.includes(method);
  if (outcome.kind === 'response') {
    return outcome.appRefused || (idempotent && retry.codes.includes(outcome.status));
  }
  if (outcome.failure.retrySafety === 'never') return false;
  if (outcome.condition === 'timeout') return idempotent && retry.codes.includes(504);
  if (outcome.condition === 'breaker' || outcome.condition === 'other') return false;
  if (outcome.condition === 'reset' && !idempotent) return false;
  return retry.on.includes(outcome.condition);
}

function ruleOf(part: Partial<RouteRule>): RouteRule {
  return {
    id: 'HTTPRoute/shop/test#0',
    matches: [],
    requestHeaders: undefined,
    responseHeaders: undefined,
    redirect: undefined,
    rewrite: undefined,
    mirrors: [],
    backends: [],
    policy: DEFAULT_REQUEST_POLICY,
    createdAtMs: 0,
    object: 'shop/test',
    ruleIndex: 0,
    ...part,
  };
}

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
