import { ALPN } from '../common/contracts.ts';
import { destinationKey } from '../common/names.ts';
import type { ByteStream } from '../common/net.ts';
import { afterAttempt, decide, decideTcp } from '../model/decide.ts';
import { DEFAULT_LIMITS, type EngineLimits } from './codec/limits.ts';
import { Deadline, Deadlines } from './http/deadlines.ts';
import type { ExchangeStages } from './http/exchange-stages.ts';
import { Mirrors } from './http/mirrors.ts';
import { OpenStreams } from './listener/connections.ts';
import { type AppAddress, InboundListener, type InboundTarget } from './listener/inbound.ts';
import { OutboundListener, type OutboundMode } from './listener/outbound.ts';
import type { ListenAddress, ListenHandle } from './listener/tcp-listen.ts';
import { Pool } from './pool/pool.ts';
import type { DecisionFunctions } from './route/decisions.ts';
import { describeAppFailure, inboundMarks } from './route/inbound.ts';
import {
  type Meant,
  mirrorStages,
  noDestination,
  outboundMarks,
  outboundTarget,
  routeOutbound,
} from './route/outbound.ts';
import { OwnAddresses } from './route/own-addresses.ts';
import { plainForwarding, plainTarget, UNWATCHED } from './route/plain.ts';
import type { StackContext, StackDeps } from './stack-context.ts';
import { ClientContexts } from './tls/contexts.ts';
import { Connector } from './upstream/connect.ts';
import type { OpaqueStages } from './upstream/opaque.ts';

export type { Resolver, StackDeps } from './stack-context.ts';

export interface StackStats {
  /** Client connections, both directions. */
  readonly connections: number;
  /** Requests and opaque connections that are being served. */
  readonly active: number;
  readonly upstream: { readonly open: number; readonly idle: number; readonly pending: number };
  /** Copies of requests under way, and what of their bodies is held. */
  readonly mirrors: { readonly inFlight: number; readonly heldBytes: number };
  readonly draining: boolean;
}

export interface Stack {
  /** The app's side: 15001. */
  listenOutbound(address: ListenAddress, mode: OutboundMode): Promise<ListenHandle>;
  /** One port of the peers' side: a container port in loopback mode, 15006 in transparent mode. */
  listenInbound(address: ListenAddress, target: InboundTarget): Promise<ListenHandle>;
  /**
   * Goes on accepting, but ends each connection with its response and closes idle ones. Resolves when nothing is being
   * served or still being read by a client any more, or after `graceMs`.
   */
  drain(graceMs: number): Promise<void>;
  /**
   * Stops listening, so that peers go elsewhere, and serves what was accepted before. Resolves when that is done, or after
   * `retireMs`.
   */
  retire(): Promise<void>;
  /** Stops listening and cuts what is left. */
  close(): Promise<void>;
  stats(): StackStats;
}

/** The data path of one sidecar. */
export function createStack(deps: StackDeps): Stack {
  return new DataPath(deps);
}

/** How often a drain looks whether everything is served. */
const DRAIN_POLL_MS = 20;

const NOT_RETRIED = { kind: 'give-up', code: undefined } as const;

class DataPath implements Stack, StackContext {
  readonly deps: StackDeps;
  readonly limits: EngineLimits;
  readonly deadlines: Deadlines;
  readonly pool: Pool;
  readonly decisions: DecisionFunctions;
  readonly #streams: OpenStreams;
  readonly #outbound: OutboundListener;
  readonly #handles: ListenHandle[] = [];
  readonly #closing: Promise<void>[] = [];
  readonly #own: OwnAddresses;
  readonly #mirrors: Mirrors;
  readonly #closers: (() => void)[] = [];
  #active = 0;
  #draining = false;
  #captures = false;
  #closed = false;

  constructor(deps: StackDeps) {
    this.deps = deps;
    this.decisions = deps.decisions ?? { decide, decideTcp, afterAttempt };
    this.limits = { ...DEFAULT_LIMITS, ...deps.limits };
    this.deadlines = new Deadlines(deps.clock);
    this.#own = new OwnAddresses(deps.podAddresses ?? []);
    const connector = new Connector(
      { dialer: deps.dialer, deadlines: this.deadlines, wallMs: () => deps.clock.wallMs() },
      new ClientContexts(),
    );
    this.pool = new Pool(connector, this.limits, this.deadlines);
    this.#streams = new OpenStreams(this.limits.connectionsMax);
    this.#mirrors = new Mirrors(mirrorStages(this));
    this.#closers.push(() => this.#mirrors.close());
    this.#outbound = new OutboundListener(this, this.#streams, {
      http: (meant) => this.#outboundRequest(meant),
      opaque: (meant, client) => this.#outboundConnection(meant, client),
    });
    // Idle connections of the old leaf go; busy ones end with their lifetime.
    this.#closers.push(
      deps.identity.onChange(({ version }) =>
        this.pool.closeIdle((key) => !key.includes('|v') || key.includes(`|v${version}|`)),
      ),
    );
  }

  // ── the stages of a request, in order ────────────────────────────────────────────────────────────────────────────

  /**
   * Outbound: listener → codec → destination → route and balance (`decide`) → limits and breaker (`admit`) → pool →
   * upstream; after an attempt that failed, again from `admit` with the endpoint that `afterAttempt` names. Copies for
   * mirrors go their way from `admit` on (`mirrorStages`).
   */
  #outboundRequest(meant: Meant | undefined): ExchangeStages {
    const { deps } = this;
    const { config, policy, random } = deps;
    const { decisions } = this;
    return {
      ...this.#common('outbound'),
      route: (head, _client, scope) => {
        const where = meant ?? head.destination();
        if (where === undefined) return noDestination();
        if (head.hostMissing) head.authority = destinationKey(where.host, where.port);
        return routeOutbound(this, where, (key) => {
          const now = this.deadlines.now();
          const decision = decisions.decide(config.snapshot(), key, head, policy, now, random, scope.reasons);
          scope.decided(decision);
          return decision;
        });
      },
      admit: (forwarding, endpoint, isRetry) => {
        const { decision } = forwarding;
        if (decision === undefined || endpoint === undefined) return { ok: true, value: UNWATCHED };
        return policy.begin(decision.cluster, endpoint, isRetry);
      },
      target: (forwarding, endpoint) => outboundTarget(this, forwarding, endpoint, ALPN.http1),
      afterAttempt: ({ decision }, outcome, history, head, scope) => {
        if (decision === undefined) return NOT_RETRIED;
        const now = this.deadlines.now();
        return decisions.afterAttempt(decision, outcome, history, head, policy, now, random, scope.reasons);
      },
      breakerState: ({ decision }) =>
        decision === undefined ? 'closed' : policy.breaker(decision.cluster.name),
      marks: (head, client, scope, attempt, number) =>
        outboundMarks(head, client, scope, attempt, number, deps.podAddresses?.[0]),
      mirrors: this.#mirrors,
      // Only a verified sidecar's word counts; anything else could be an app's.
      trustsReason: (verifiedPeer) => verifiedPeer !== undefined,
      describe: (failed) => failed,
    };
  }

  /** Inbound: listener → mTLS → codec → the own app. No decision, no retry: that is the client side's business. */
  #inboundRequest(app: AppAddress): ExchangeStages {
    return {
      ...this.#common('inbound'),
      route: (head) => {
        if (head.hostMissing) head.authority = destinationKey(app.host, app.port);
        return plainForwarding(app.host, app.port, this.limits);
      },
      admit: () => ({ ok: true, value: UNWATCHED }),
      target: (forwarding) => plainTarget(forwarding, this.limits, app.from),
      afterAttempt: () => NOT_RETRIED,
      breakerState: () => 'closed',
      marks: (head, client, scope, attempt) =>
        inboundMarks(head, client, scope, attempt, this.deps.identity.current()?.identity),
      mirrors: undefined,
      trustsReason: () => false,
      describe: describeAppFailure,
    };
  }

  /** Opaque connections take the same way with `decideTcp`; what they carry is never looked at. */
  #outboundConnection(meant: Meant, client: ByteStream): OpaqueStages {
    const { config, policy, random } = this.deps;
    const { decisions } = this;
    return {
      route: () =>
        routeOutbound(this, meant, (key) =>
          decisions.decideTcp(
            config.snapshot(),
            key,
            policy,
            this.deadlines.now(),
            random,
            client.remoteAddress,
          ),
        ),
      admit: ({ decision }, endpoint, isRetry) => {
        if (decision === undefined || endpoint === undefined) return { ok: true, value: UNWATCHED };
        return policy.begin(decision.cluster, endpoint, isRetry);
      },
      target: (forwarding, endpoint) => outboundTarget(this, forwarding, endpoint, ALPN.opaque),
    };
  }

  #inboundConnection(app: AppAddress): OpaqueStages {
    return {
      route: () => plainForwarding(app.host, app.port, this.limits),
      admit: () => ({ ok: true, value: UNWATCHED }),
      target: (forwarding) => plainTarget(forwarding, this.limits, app.from),
    };
  }

  #common(direction: 'inbound' | 'outbound') {
    return {
      direction,
      telemetry: this.deps.telemetry,
      pool: this.pool,
      deadlines: this.deadlines,
      limits: this.limits,
      draining: () => this.#draining,
      exchangeOpened: () => this.opened(),
      exchangeClosed: () => this.closed(),
    };
  }

  // ── listening and ending ─────────────────────────────────────────────────────────────────────────────────────────

  async listenOutbound(address: ListenAddress, mode: OutboundMode): Promise<ListenHandle> {
    const handle = await this.deps.listen(address, (stream) => this.#outbound.accept(stream, mode));
    this.#handles.push(handle);
    this.#own.listensOn(handle.host, handle.port);
    return handle;
  }

  async listenInbound(address: ListenAddress, target: InboundTarget): Promise<ListenHandle> {
    if (target.app === undefined) this.#captures = true;
    const listener = new InboundListener(
      this,
      this.#streams,
      { http: (app) => this.#inboundRequest(app), opaque: (app) => this.#inboundConnection(app) },
      target,
    );
    this.#closers.push(() => listener.close());
    const handle = await this.deps.listen(address, (stream) => listener.accept(stream));
    this.#handles.push(handle);
    return handle;
  }

  drain(graceMs: number): Promise<void> {
    this.#draining = true;
    return this.#until(graceMs, () => this.#streams.drain() && this.#active === 0);
  }

  retire(): Promise<void> {
    this.#draining = true;
    this.#stopListening();
    const served = () => this.#streams.drain() && this.#active === 0 && this.#streams.undecided === 0;
    return this.#until(this.limits.retireMs, served);
  }

  async close(): Promise<void> {
    this.#draining = true;
    this.#closed = true;
    for (const close of this.#closers.splice(0)) close();
    this.#stopListening();
    this.#streams.destroy();
    this.pool.close();
    await Promise.all(this.#closing);
    this.deadlines.close();
  }

  #stopListening(): void {
    for (const handle of this.#handles.splice(0)) this.#closing.push(handle.close());
  }

  /** Waits until `isOver`, seen twice so that what has just arrived is seen, for `limitMs` at most. */
  #until(limitMs: number, isOver: () => boolean): Promise<void> {
    const untilMs = this.deadlines.now() + limitMs;
    return new Promise((resolve) => {
      let before = false;
      const look = new Deadline(() => {
        const now = isOver();
        if ((before && now) || this.#closed || this.deadlines.now() >= untilMs) {
          resolve();
          return;
        }
        before = now;
        this.deadlines.arm(look, DRAIN_POLL_MS);
      });
      look.onExpire();
    });
  }

  stats(): StackStats {
    return {
      connections: this.#streams.count,
      active: this.#active,
      upstream: this.pool.stats(),
      mirrors: this.#mirrors.stats(),
      draining: this.#draining,
    };
  }

  draining(): boolean {
    return this.#draining;
  }

  opened(): void {
    this.#active++;
  }

  closed(): void {
    this.#active--;
  }

  isOwnAddress(host: string, port: number): boolean {
    return this.#own.has(host, port);
  }

  /** What is dialled inside a captured pod isn't captured. In loopback mode the pod's ports are the sidecar's. */
  isOwnApp(host: string, port: number): boolean {
    return this.#captures && this.#own.isOfPod(host, port);
  }
}
