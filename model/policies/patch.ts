import {
  type CircuitBreakerPolicy,
  type ClusterPolicy,
  type ConnectionLimits,
  DEFAULT_CIRCUIT_BREAKER,
  DEFAULT_CLUSTER_POLICY,
  type FaultPolicy,
  type LoadBalancerPolicy,
  type OutlierEjectionPolicy,
  type RequestPolicy,
  type RetryBudget,
  type RetryPolicy,
  type TimeoutPolicy,
} from '../policy-types.ts';

type Optional<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** What one policy object says: only the fields that it names. */
export interface PolicyPatch {
  readonly timeouts: Optional<TimeoutPolicy>;
  readonly retry: Optional<Omit<RetryPolicy, 'budget'>> & { readonly budget: Optional<RetryBudget> };
  readonly faults: Optional<FaultPolicy>;
  /** Undefined where there is no such block: the breaker stays off. */
  readonly circuitBreaker: Optional<CircuitBreakerPolicy> | undefined;
  readonly outlierEjection: Optional<OutlierEjectionPolicy>;
  readonly limits: Optional<ConnectionLimits>;
  readonly loadBalancer: Optional<LoadBalancerPolicy>;
}

export const EMPTY_PATCH: PolicyPatch = {
  timeouts: {},
  retry: { budget: {} },
  faults: {},
  circuitBreaker: undefined,
  outlierEjection: {},
  limits: {},
  loadBalancer: {},
};

function over<T extends object>(base: T, patch: Optional<T>): T {
  const result = { ...base };
  for (const key of Object.keys(patch) as (keyof T)[]) {
    const value = patch[key];
    if (value !== undefined) result[key] = value;
  }
  return result;
}

export function patchRequest(base: RequestPolicy, patch: PolicyPatch): RequestPolicy {
  const { budget, ...retry } = patch.retry;
  const merged = over<Omit<RetryPolicy, 'budget'>>(base.retry, retry);
  const [backoffBaseMs, backoffMaxMs] = ordered(
    [merged.backoffBaseMs, merged.backoffMaxMs],
    retry.backoffMaxMs === undefined,
  );
  return {
    timeouts: over(base.timeouts, patch.timeouts),
    retry: { ...merged, backoffBaseMs, backoffMaxMs, budget: over(base.retry.budget, budget) },
    faults: over(base.faults, patch.faults),
  };
}

/** How far a maximum that nobody wrote gives way to a longer base. */
const MAX_OVER_BASE = 10;

/** A base and its maximum that come from two places and contradict each other: the one that was just written stays. */
function ordered([base, max]: readonly [number, number], baseWasWritten: boolean): [number, number] {
  if (base <= max) return [base, max];
  return baseWasWritten ? [base, base * MAX_OVER_BASE] : [max, max];
}

/** The policy of a cluster under these patches of its Service, in any order that doesn't conflict. */
export function clusterPolicy(patches: readonly PolicyPatch[]): ClusterPolicy {
  let policy = DEFAULT_CLUSTER_POLICY;
  for (const patch of patches) {
    const { connectMs, idleMs } = patch.timeouts;
    const ejection = over(policy.outlierEjection, patch.outlierEjection);
    const [baseEjectionMs, maxEjectionMs] = ordered(
      [ejection.baseEjectionMs, ejection.maxEjectionMs],
      patch.outlierEjection.maxEjectionMs === undefined,
    );
    policy = {
      connectMs: connectMs ?? policy.connectMs,
      idleMs: idleMs ?? policy.idleMs,
      circuitBreaker:
        patch.circuitBreaker === undefined
          ? policy.circuitBreaker
          : over(policy.circuitBreaker ?? DEFAULT_CIRCUIT_BREAKER, patch.circuitBreaker),
      outlierEjection: { ...ejection, baseEjectionMs, maxEjectionMs },
      limits: over(policy.limits, patch.limits),
      loadBalancer: over(policy.loadBalancer, patch.loadBalancer),
    };
  }
  return policy;
}

/** Where a name inside isn't the one that the object has. */
const WRITTEN: ReadonlyMap<string, string> = new Map([
  ['timeouts.requestMs', 'timeouts.request'],
  ['timeouts.backendRequestMs', 'timeouts.backendRequest'],
  ['timeouts.idleMs', 'timeouts.idle'],
  ['timeouts.connectMs', 'timeouts.connect'],
  ['retry.backoffBaseMs', 'retry.backoff.base'],
  ['retry.backoffMaxMs', 'retry.backoff.max'],
  ['retry.budget.intervalMs', 'retry.budget.interval'],
  ['faults.abortPercent', 'faults.abort.percent'],
  ['faults.abortStatus', 'faults.abort.status'],
  ['faults.delayPercent', 'faults.delay.percent'],
  ['faults.delayMs', 'faults.delay.time'],
  ['outlierEjection.baseEjectionMs', 'outlierEjection.baseEjectionTime'],
  ['outlierEjection.maxEjectionMs', 'outlierEjection.maxEjectionTime'],
]);

/**
 * Everything a patch sets, by its dotted name under `spec`: two policies that share one of them contradict each other.
 * A breaker counts as one, because its block turns it on.
 */
export function patchedFields(patch: PolicyPatch): readonly string[] {
  const names = setFields(patch, '').map((name) => WRITTEN.get(name) ?? name);
  return patch.circuitBreaker === undefined ? names : [...names, 'circuitBreaker'];
}

function setFields(block: object, under: string): readonly string[] {
  return Object.entries(block).flatMap(([key, value]: [string, unknown]) => {
    const name = under === '' ? key : `${under}.${key}`;
    if (value === undefined) return [];
    if (under === '' || name === 'retry.budget') return setFields(Object(value), name);
    return [name];
  });
}
