import type { JsonObject } from '../../common/json.ts';
import { PARENT } from './model-objects.ts';

/** Policies that the model refuses; the API server's schemas are held to the same tables. */

/** TrafficPolicies: what is refused, the field under `spec` that is to blame, and a word of why. */
export const UNSOUND_TRAFFIC_POLICIES: readonly (readonly [string, JsonObject, string, RegExp])[] = [
  [
    'an attempt longer than its request',
    { timeouts: { request: '1s', backendRequest: '2s' } },
    'timeouts.backendRequest',
    /longer/,
  ],
  ['no time to connect', { timeouts: { connect: '0s' } }, 'timeouts.connect', /at least 1ms/],
  ['11 attempts', { retry: { attempts: 11 } }, 'retry.attempts', /0 to 10/],
  ['an unknown condition', { retry: { on: ['5xx'] } }, 'retry.on[0]', /connect-failure/],
  ['a success for an error', { retry: { codes: [200] } }, 'retry.codes[0]', /400 to 599/],
  ['an unknown gRPC status', { retry: { grpcStatus: ['NOPE'] } }, 'retry.grpcStatus[0]', /UNAVAILABLE/],
  ['an unknown method', { retry: { methods: ['get'] } }, 'retry.methods[0]', /GET/],
  [
    'a base over its maximum',
    { retry: { backoff: { base: '2s', max: '1s' } } },
    'retry.backoff.base',
    /longer/,
  ],
  ['101 percent', { retry: { budget: { percent: 101 } } }, 'retry.budget.percent', /0 to 100/],
  ['a buffer of 1 GB', { retry: { bodyBufferBytesMax: 1e9 } }, 'retry.bodyBufferBytesMax', /16777216/],
  [
    'no buckets',
    { circuitBreaker: { rollingCountBuckets: 0 } },
    'circuitBreaker.rollingCountBuckets',
    /1 to 1000/,
  ],
  [
    'a range backwards',
    { circuitBreaker: { errorCodes: ['599-500'] } },
    'circuitBreaker.errorCodes[0]',
    /range/,
  ],
  ['an abort with 199', { faults: { abort: { status: 199 } } }, 'faults.abort.status', /200 to 599/],
  [
    'an ejection over its maximum',
    { outlierEjection: { baseEjectionTime: '2s', maxEjectionTime: '1s' } },
    'outlierEjection.baseEjectionTime',
    /longer/,
  ],
  ['no connections', { limits: { maxConnections: 0 } }, 'limits.maxConnections', /1 to/],
  [
    'an unknown balancer',
    { loadBalancer: { policy: 'Best' } },
    'loadBalancer.policy',
    /PeakEwma, LeastRequest/,
  ],
  ['Maglev by nothing', { loadBalancer: { policy: 'Maglev' } }, 'loadBalancer.hash', /required/],
  ['a hash for nobody', { loadBalancer: { hash: { header: 'a' } } }, 'loadBalancer.hash', /Maglev/],
  [
    'two hashes',
    { loadBalancer: { policy: 'Maglev', hash: { header: 'a', sourceIp: true } } },
    'loadBalancer.hash',
    /only one/,
  ],
  ['no targets', { targetRefs: [] }, 'targetRefs', /at least one/],
  ['17 targets', { targetRefs: Array(17).fill(PARENT) }, 'targetRefs', /at most 16/],
  ['a target twice', { targetRefs: [PARENT, PARENT] }, 'targetRefs[1]', /second time/],
  [
    'a target elsewhere',
    { targetRefs: [{ ...PARENT, namespace: 'far' }] },
    'targetRefs[0].namespace',
    /that of the policy/,
  ],
  [
    'a target of another kind',
    { targetRefs: [{ kind: 'Pod', name: 'a' }] },
    'targetRefs[0].kind',
    /Service, HTTPRoute/,
  ],
  [
    'a route without its group',
    { targetRefs: [{ kind: 'HTTPRoute', name: 'r' }] },
    'targetRefs[0].group',
    /gateway/,
  ],
  [
    'a section of a Service',
    { targetRefs: [{ ...PARENT, sectionName: 'http' }] },
    'targetRefs[0].sectionName',
    /all its ports/,
  ],
];

/** MTLSPolicies: the spec, and the field to blame. */
export const UNSOUND_MTLS_POLICIES: readonly (readonly [JsonObject, string])[] = [
  [{ mode: 'strict' }, 'spec.mode'],
  [{ selector: { matchExpressions: [] } }, 'spec.selector.matchExpressions'],
  [{ selector: { matchLabels: { app: 1 } } }, 'spec.selector.matchLabels.app'],
  [{ portModes: [{ port: 0, mode: 'STRICT' }] }, 'spec.portModes[0].port'],
  [{ portModes: [{ port: 80 }] }, 'spec.portModes[0].mode'],
  [{ portModes: [{ mode: 'STRICT' }] }, 'spec.portModes[0].port'],
  [
    {
      portModes: [
        { port: 80, mode: 'STRICT' },
        { port: 80, mode: 'DISABLE' },
      ],
    },
    'spec.portModes[1].port',
  ],
  [
    { portModes: Array.from({ length: 65 }, (_, index) => ({ port: index + 1, mode: 'STRICT' })) },
    'spec.portModes',
  ],
];
