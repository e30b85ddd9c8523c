/** What forwarding may cost. A client that asks for more gets SERVFAIL at once, and the others go on. */
export interface ForwardLimits {
  /** Names that are asked for upstream at one time. */
  readonly flightsMax: number;
  /** Above this many, only clients with few questions under way get another one. */
  readonly flightsSharedMax: number;
  /** Questions of one client under way, answers from the cache not counted. */
  readonly waitingPerClientMax: number;
  /** What a client may have under way however busy the others are. */
  readonly waitingPerClientReserved: number;
  readonly waitingMax: number;
  /** An upstream that is silent for this long is passed over for the next one; its late answer still counts. */
  readonly attemptMs: number;
  readonly attemptsMax: number;
  /** Below the 5 s after which resolvers in pods ask again. */
  readonly flightMs: number;
  /** Failures in a row after which an upstream is asked last. */
  readonly failuresMax: number;
  /** For this long. */
  readonly restMs: number;
  readonly cacheEntriesMax: number;
  readonly cacheBytesMax: number;
  /** Longer TTLs are cut to it. */
  readonly ttlSecondsMax: number;
  readonly negativeTtlSecondsMax: number;
  /** How long an answer may be given after its time where no upstream answers (RFC 8767). */
  readonly staleSecondsMax: number;
}

export const DEFAULT_FORWARD_LIMITS: ForwardLimits = {
  flightsMax: 1024,
  flightsSharedMax: 768,
  waitingPerClientMax: 256,
  waitingPerClientReserved: 8,
  waitingMax: 4096,
  attemptMs: 1_000,
  attemptsMax: 4,
  flightMs: 4_500,
  failuresMax: 3,
  restMs: 10_000,
  cacheEntriesMax: 10_000,
  cacheBytesMax: 16 * 1024 * 1024,
  ttlSecondsMax: 3_600,
  negativeTtlSecondsMax: 30,
  staleSecondsMax: 3_600,
};

/** TTL of an answer past its time (RFC 8767 section 5). */
export const STALE_TTL_S = 30;
