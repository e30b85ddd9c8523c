/** Resolved policy values: every default filled in, durations in milliseconds, 0 meaning none. */

export type RetryCondition =
  | 'connect-failure'
  | 'refused-stream'
  | 'reset-before-request'
  | 'reset'
  | 'gateway-error';

export interface TimeoutPolicy {
  /** Whole request, all attempts. 0: none. */
  readonly requestMs: number;
  /** One attempt. 0: none. */
  readonly backendRequestMs: number;
  readonly idleMs: number;
  /** Of a rule: 0 leaves it to the backend's `ClusterPolicy`. */
  readonly connectMs: number;
}

export interface RetryBudget {
  readonly percent: number;
  readonly minPerSecond: number;
  readonly intervalMs: number;
}

export interface RetryPolicy {
  /** After the first attempt; 0: never. */
  readonly attempts: number;
  readonly on: readonly RetryCondition[];
  /** Response statuses to retry, only for `methods`. */
  readonly codes: readonly number[];
  readonly grpcStatus: readonly string[];
  readonly methods: readonly string[];
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  readonly budget: RetryBudget;
  readonly bodyBufferBytesMax: number;
}

export interface CircuitBreakerPolicy {
  readonly errorThresholdPercentage: number;
  readonly volumeThreshold: number;
  readonly rollingCountTimeoutMs: number;
  readonly rollingCountBuckets: number;
  readonly resetTimeoutMs: number;
  /** Inclusive ranges of response statuses that count as failures. */
  readonly errorCodes: readonly (readonly [from: number, to: number])[];
}

export interface FaultPolicy {
  readonly abortPercent: number;
  readonly abortStatus: number;
  readonly delayPercent: number;
  readonly delayMs: number;
}

export interface OutlierEjectionPolicy {
  readonly consecutiveErrors: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  readonly maxEjectionPercent: number;
}

export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
}

export type HashKey =
  | { readonly from: 'header'; readonly name: string }
  | { readonly from: 'cookie'; readonly name: string }
  | { readonly from: 'query'; readonly name: string }
  | { readonly from: 'sourceIp' };

export interface LoadBalancerPolicy {
  readonly policy: 'PeakEwma' | 'LeastRequest' | 'RoundRobin' | 'Random' | 'Maglev';
  readonly hash: HashKey | undefined;
}

/** What applies to one rule of one destination: TrafficPolicies and the route's own stanzas, merged field by field. */
export interface RequestPolicy {
  readonly timeouts: TimeoutPolicy;
  readonly retry: RetryPolicy;
  readonly faults: FaultPolicy;
}

/** What applies to one cluster (a Service port as a backend), whichever route led there. */
export interface ClusterPolicy {
  readonly connectMs: number;
  readonly idleMs: number;
  readonly circuitBreaker: CircuitBreakerPolicy | undefined;
  readonly outlierEjection: OutlierEjectionPolicy;
  readonly limits: ConnectionLimits;
  readonly loadBalancer: LoadBalancerPolicy;
}

/** The defaults of CONTRACTS, `TrafficPolicy`. */
const DEFAULT_TIMEOUTS: TimeoutPolicy = {
  requestMs: 0,
  backendRequestMs: 0,
  idleMs: 300_000,
  connectMs: 2_000,
};

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 2,
  on: ['connect-failure', 'refused-stream', 'reset-before-request'],
  codes: [],
  grpcStatus: [],
  methods: ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'],
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  budget: { percent: 20, minPerSecond: 10, intervalMs: 10_000 },
  bodyBufferBytesMax: 65_536,
};

export const DEFAULT_CIRCUIT_BREAKER: CircuitBreakerPolicy = {
  errorThresholdPercentage: 50,
  volumeThreshold: 20,
  rollingCountTimeoutMs: 10_000,
  rollingCountBuckets: 10,
  resetTimeoutMs: 5_000,
  errorCodes: [[500, 599]],
};

export const NO_FAULTS: FaultPolicy = { abortPercent: 0, abortStatus: 503, delayPercent: 0, delayMs: 0 };

const DEFAULT_OUTLIER_EJECTION: OutlierEjectionPolicy = {
  consecutiveErrors: 5,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
  maxEjectionPercent: 50,
};

const DEFAULT_LIMITS: ConnectionLimits = {
  maxConnections: 1024,
  maxPendingRequests: 1024,
  maxRequests: 1024,
  maxRetries: 100,
};

const DEFAULT_LOAD_BALANCER: LoadBalancerPolicy = { policy: 'PeakEwma', hash: undefined };

export const DEFAULT_REQUEST_POLICY: RequestPolicy = {
  timeouts: DEFAULT_TIMEOUTS,
  retry: DEFAULT_RETRY,
  faults: NO_FAULTS,
};

export const DEFAULT_CLUSTER_POLICY: ClusterPolicy = {
  connectMs: DEFAULT_TIMEOUTS.connectMs,
  idleMs: DEFAULT_TIMEOUTS.idleMs,
  circuitBreaker: undefined,
  outlierEjection: DEFAULT_OUTLIER_EJECTION,
  limits: DEFAULT_LIMITS,
  loadBalancer: DEFAULT_LOAD_BALANCER,
};
