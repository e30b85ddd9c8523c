import { isJsonObject } from '../common/json.ts';
import type { BreakerState, DecisionState } from './decision-types.ts';

/** The state of one endpoint in a dump; absent fields are idle. */
export interface EndpointStateDump {
  readonly inFlight?: number;
  readonly latencyMs?: number;
  readonly ejected?: boolean;
}

export interface ClusterStateDump {
  readonly breaker?: BreakerState;
  readonly requestsInFlight?: number;
  readonly retriesInFlight?: number;
  readonly retryBudgetAllows?: boolean;
  /** By endpoint key. */
  readonly endpoints?: Readonly<Record<string, EndpointStateDump>>;
}

/** What a sidecar's admin page gives out of its live state, as JSON. */
export interface DecisionStateDump {
  /** By cluster name. */
  readonly clusters: Readonly<Record<string, ClusterStateDump>>;
}

/** A state in which nothing has happened yet. */
export function idleState(): DecisionState {
  return stateFromDump({ clusters: {} });
}

/** A state that reads from a dump. Whatever isn't there, or isn't of the right type, reads as idle. */
export function stateFromDump(dump: unknown): DecisionState {
  const clusters = own(dump, 'clusters');
  const endpoint = (cluster: string, key: string) => own(own(own(clusters, cluster), 'endpoints'), key);
  let turns = 0;
  return {
    breaker(cluster) {
      const state = own(own(clusters, cluster), 'breaker');
      return state === 'open' || state === 'half-open' ? state : 'closed';
    },
    ejected: (cluster, key) => own(endpoint(cluster, key), 'ejected') === true,
    inFlight: (cluster, key) => count(own(endpoint(cluster, key), 'inFlight')),
    latencyMs(cluster, key) {
      const latency = own(endpoint(cluster, key), 'latencyMs');
      return typeof latency === 'number' && latency >= 0 ? latency : undefined;
    },
    roundRobin: () => turns++,
    requestsInFlight: (cluster) => count(own(own(clusters, cluster), 'requestsInFlight')),
    retriesInFlight: (cluster) => count(own(own(clusters, cluster), 'retriesInFlight')),
    retryBudgetAllows: (cluster) => own(own(clusters, cluster), 'retryBudgetAllows') !== false,
  };
}

function own(value: unknown, key: string): unknown {
  return isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function count(value: unknown): number {
  return typeof value === 'number' && value >= 0 ? value : 0;
}
