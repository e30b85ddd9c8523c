import { systemClock } from '../../common/clock.ts';
import { systemRandom } from '../../common/random.ts';
import { decide } from '../../model/decide.ts';
import type { RequestView } from '../../model/decision-types.ts';
import { DEFAULT_CLUSTER_POLICY, DEFAULT_REQUEST_POLICY } from '../../model/policy-types.ts';
import type { Cluster, Destination, Endpoint, RouteRule } from '../../model/snapshot.ts';
import { idleState } from '../../model/state.ts';

/** Microseconds per decision with 20 entries and 10 endpoints, the last entry winning. */
const ENTRIES = 20;
const ROUNDS = 300_000;

const endpoints = Array.from(
  { length: 10 },
  (_, index): Endpoint => ({
    key: `10.0.0.${index}:80`,
    address: `10.0.0.${index}`,
    port: 80,
    pod: undefined,
    node: undefined,
    zone: undefined,
    weight: 1,
    health: 'ready',
    mtls: true,
    identities: [],
  }),
);
const cluster: Cluster = {
  name: 'c',
  namespace: 'n',
  service: 's',
  port: 80,
  protocol: 'http',
  policy: DEFAULT_CLUSTER_POLICY,
  endpoints,
};
const entries = Array.from({ length: ENTRIES }, (_, index) => {
  const match = {
    path: { kind: 'prefix' as const, value: '/items' },
    method: undefined,
    headers:
      index === ENTRIES - 1
        ? []
        : [{ name: 'x-user', match: { kind: 'exact' as const, value: `u${index}` } }],
    queryParams: [],
  };
  const rule: RouteRule = {
    id: `r${index}`,
    matches: [match],
    requestHeaders: undefined,
    responseHeaders: undefined,
    backends: [{ cluster: 'c', weight: 1, invalid: undefined }],
    policy: DEFAULT_REQUEST_POLICY,
    createdAtMs: 0,
    object: 'n/r',
    ruleIndex: index,
  };
  return { match, rule };
});
const destination: Destination = {
  key: 's:80',
  namespace: 'n',
  service: 's',
  port: 80,
  protocol: 'http',
  addresses: [],
  entries,
  defaultCluster: 'c',
  policy: DEFAULT_REQUEST_POLICY,
};
const snapshot = { destination: () => destination, cluster: () => cluster };
const headers = new Map([['x-user', 'nobody']]);
const request: RequestView = {
  method: 'GET',
  path: '/items/7',
  query: '',
  header: (name) => headers.get(name),
  sourceAddress: '10.0.0.9',
};
const state = idleState();

for (const round of ['warm-up', 'measured']) {
  const start = systemClock.now();
  for (let index = 0; index < ROUNDS; index++) decide(snapshot, 's:80', request, state, 0, systemRandom);
  const us = ((systemClock.now() - start) * 1_000) / ROUNDS;
  if (round === 'measured')
    process.stdout.write(
      `${JSON.stringify({ case: 'decide', entries: ENTRIES, us: Number(us.toFixed(3)) })}\n`,
    );
}
