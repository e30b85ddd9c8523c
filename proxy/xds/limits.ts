/** What the configuration side of one sidecar may hold and how long it waits. */
export interface ConfigLimits {
  /** Destinations asked for at one time, those included that the mesh doesn't know. */
  readonly subscriptionsMax: number;
  /** How long a request waits for the configuration of a destination asked for just now. */
  readonly configWaitMs: number;
  /** A destination not used for so long is forgotten, while the control plane is connected. */
  readonly idleMs: number;
  readonly idleSweepMs: number;
  readonly reconnect: { readonly baseMs: number; readonly maxMs: number };
}

export const DEFAULT_CONFIG_LIMITS: ConfigLimits = {
  subscriptionsMax: 10_000,
  configWaitMs: 1_000,
  idleMs: 3_600_000,
  idleSweepMs: 60_000,
  reconnect: { baseMs: 500, maxMs: 15_000 },
};
