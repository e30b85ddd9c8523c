import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import type { Dialer } from '../common/net.ts';
import type { Random } from '../common/random.ts';
import type { EngineLimits } from './codec/limits.ts';
import type { Deadlines } from './http/deadlines.ts';
import type { Listen } from './listener/tcp-listen.ts';
import type { Pool } from './pool/pool.ts';
import type { DecisionFunctions } from './route/decisions.ts';
import type { ConfigStage, IdentityStage, PolicyStage, TelemetryStage } from './stage.ts';

/** Names outside the mesh to addresses. */
export interface Resolver {
  /** One IP address of `host` (an address is its own); rejects where there is none. */
  resolve(host: string): Promise<string>;
}

export interface StackDeps {
  readonly config: ConfigStage;
  readonly identity: IdentityStage;
  readonly policy: PolicyStage;
  readonly telemetry: TelemetryStage;
  /** The model's, unless a test brings its own. */
  readonly decisions?: DecisionFunctions;
  readonly clock: Clock;
  readonly random: Random;
  readonly dialer: Dialer;
  readonly resolver: Resolver;
  readonly listen: Listen;
  readonly log: Logger;
  readonly limits?: Partial<EngineLimits>;
  /** The pod's own addresses; peers are told the first as the app's. */
  readonly podAddresses?: readonly string[];
}

/** What the parts of one stack share. */
export interface StackContext {
  readonly deps: StackDeps;
  readonly limits: EngineLimits;
  readonly deadlines: Deadlines;
  readonly pool: Pool;
  readonly decisions: DecisionFunctions;
  /** Whether dialling there would reach the sidecar itself: a listener, or what controls it. */
  isOwnAddress(host: string, port: number): boolean;
  /** Whether dialling there reaches the own app with no sidecar in between. */
  isOwnApp(host: string, port: number): boolean;
  draining(): boolean;
  /** Counts something that drain has to wait for. */
  opened(): void;
  closed(): void;
}
