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
  return {
    timeouts: over(base.timeouts, patch.timeouts),
    retry: {
      ...over<Omit<RetryPolicy, 'budget'>>(base.retry, retry),
      budget: over(base.retry.budget, budget),
    },
    faults: over(base.faults, patch.faults),
  };
}

/** The policy of a cluster under these patches of its Service, in any order that doesn't conflict. */
export function clusterPolicy(patches: readonly PolicyPatch[]): ClusterPolicy {
  let policy = DEFAULT_CLUSTER_POLICY;
  for (const patch of patches) {
    const { connectMs, idleMs } = patch.timeouts;
    policy = {
      connectMs: connectMs ?? policy.connectMs,
      idleMs: idleMs ?? policy.idleMs,
      circuitBreaker:
        patch.circuitBreaker === undefined
          ? policy.circuitBreaker
          : over(policy.circuitBreaker ?? DEFAULT_CIRCUIT_BREAKER, patch.circuitBreaker),
      outlierEjection: over(policy.outlierEjection, patch.outlierEjection),
      limits: over(policy.limits, patch.limits),
      loadBalancer: over(policy.loadBalancer, patch.loadBalancer),
    };
  }
  return policy;
}

/** Dotted names of everything a patch sets: two policies that share one of them contradict each other. */
export function patchedFields(patch: PolicyPatch): readonly string[] {
  const names: string[] = [];
  for (const [block, fields] of Object.entries(patch) as [string, object | undefined][]) {
    if (block === 'circuitBreaker' && fields !== undefined) names.push(block);
    for (const [name, value] of Object.entries(fields ?? {})) {
      if (block === 'retry' && name === 'budget') {
        for (const [inner, set] of Object.entries(value as object)) {
          if (set !== undefined) names.push(`retry.budget.${inner}`);
        }
      } else if (value !== undefined) names.push(`${block}.${name}`);
    }
  }
  return names;
}
