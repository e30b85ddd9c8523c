/** What the configuration side of one sidecar may hold and how long it waits. */
export interface ConfigLimits {
  /**
   * Destinations asked for at one time, those included that the mesh doesn't know. Each that it knows has a listener, a
   * route configuration, a cluster and its endpoints; the control plane takes 20,000 names on a stream.
   */
  readonly subscriptionsMax: number;
  /** Requests that wait for configuration at one time. */
  readonly waitersMax: number;
  /** How long a request waits for the configuration of a destination asked for just now. */
  readonly configWaitMs: number;
  /** A destination not used for so long is forgotten, while the control plane is connected. */
  readonly idleMs: number;
  readonly idleSweepMs: number;
  /** How long a new stream may stay without any answer before it is given up. */
  readonly answerWaitMs: number;
  /** How long the same refusal is held back when it is due again: a server that insists must not make a busy loop. */
  readonly refusalPauseMs: number;
  /** Names and versions in one request; the control plane takes twice as much. */
  readonly requestBytesMax: number;
  readonly reconnect: { readonly baseMs: number; readonly maxMs: number };
}

export const DEFAULT_CONFIG_LIMITS: ConfigLimits = {
  subscriptionsMax: 4_000,
  waitersMax: 10_000,
  configWaitMs: 1_000,
  idleMs: 3_600_000,
  idleSweepMs: 60_000,
  answerWaitMs: 15_000,
  refusalPauseMs: 1_000,
  requestBytesMax: 512 * 1024,
  reconnect: { baseMs: 500, maxMs: 15_000 },
};
