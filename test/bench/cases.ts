/** What is measured: one entry a case, and the budget that DESIGN gives it as a multiple of Envoy's cost. */
export interface BenchCase {
  readonly name: string;
  readonly summary: string;
  /** `one-hop`: client, proxy, app. `mtls-pair`: client, proxy, mTLS, proxy, app. */
  readonly topology: Topology;
  readonly connections: number;
  readonly bodyBytes: number;
  /** CPU per request at most this many times Envoy's. */
  readonly budget: number;
}

export type Topology = 'one-hop' | 'mtls-pair';

/** Every request of a run, the same for all proxies. */
export interface LoadShape {
  readonly path: string;
  readonly connections: number;
  readonly headers: Readonly<Record<string, string>>;
}

const SMALL_BYTES = 100;

export const CASES: readonly BenchCase[] = [
  {
    name: 'one-hop-h1-c32',
    summary: 'one hop, HTTP/1.1, 32 connections; routing, retry, breaker, limits and metrics on',
    topology: 'one-hop',
    connections: 32,
    bodyBytes: SMALL_BYTES,
    budget: 0.75,
  },
  {
    name: 'mtls-pair-h1-c32',
    summary:
      'a pair of proxies with mTLS between them, HTTP/1.1 from 32 client connections; the same features',
    topology: 'mtls-pair',
    connections: 32,
    bodyBytes: SMALL_BYTES,
    budget: 0.45,
  },
];

/** What the service is called, by every proxy. */
export const SERVICE_HOST = 'web.bench';

export function shapeOf(one: BenchCase): LoadShape {
  return {
    path: '/items/42',
    connections: one.connections,
    headers: { Host: SERVICE_HOST, 'user-agent': 'heddle-bench', accept: '*/*', 'x-user': 'ada' },
  };
}
