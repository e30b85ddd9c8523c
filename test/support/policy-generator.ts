import fc from 'fast-check';
import type { JsonObject, JsonValue } from '../../common/json.ts';

/** Specs of policies, most fields sound and at their limits, some beyond, some of a wrong type, some unknown. */

type Values = readonly JsonValue[];

/** Bad values are rare: a policy has many fields, and one of them decides. */
const SOUND_WEIGHT = 30;

function value(sound: Values, bad: Values): fc.Arbitrary<JsonValue> {
  return fc.oneof(
    { weight: SOUND_WEIGHT, arbitrary: fc.constantFrom(...sound) },
    { weight: 1, arbitrary: fc.constantFrom(...bad, {}, [], true) },
  );
}

function block(fields: Readonly<Record<string, fc.Arbitrary<JsonValue>>>): fc.Arbitrary<JsonObject> {
  const known = fc.record(fields, { requiredKeys: [], noNullPrototype: true });
  const misspelt = known.map((sound) => ({ ...sound, unknownField: 1 }));
  return fc.oneof(
    { weight: 60, arbitrary: known },
    { weight: 1, arbitrary: misspelt },
  ) as fc.Arbitrary<JsonObject>;
}

function list(item: fc.Arbitrary<JsonValue>, maxLength = 3): fc.Arbitrary<JsonValue> {
  return fc.array(item, { maxLength }) as fc.Arbitrary<JsonValue>;
}

const NO_DURATIONS = ['1d', '-1s', '1.5s', '', '5', '1s ', '999999h', '1h1h1h1h1h', 5];
/** All within any limits that differ from field to field are added by the caller. */
const duration = (sound: Values, beyond: Values) => value(sound, [...NO_DURATIONS, ...beyond]);
const day = duration(
  ['1ms', '25ms', '1s', '1m', '1h30m', '24h', '23h59m60s'],
  ['0s', '0h', '24h1ms', '99999h'],
);
const year = duration(['0s', '1ms', '1s', '5s', '8760h'], ['8761h', '99999h99999h']);
const percent = value([0, 0.5, 50, 100], [-1, 100.5, '50']);
const count = (from: number, to: number) => value([from, from + 1, to], [from - 1, to + 1, from + 0.5, '1']);
const COUNT_MAX = 1_000_000;

const targetRef = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.constantFrom<JsonObject>(
      { kind: 'Service', name: 'catalog' },
      { group: '', kind: 'Service', name: 'v2', sectionName: '' },
      { kind: 'Service', name: 'v2', namespace: 'shop' },
    ),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom<JsonObject>(
      { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r' },
      { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', name: 'r', sectionName: 'one' },
      { group: 'gateway.networking.k8s.io', kind: 'GRPCRoute', name: 'g' },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<JsonValue>(
      ...[
        { kind: 'Pod', name: 'p' },
        { kind: 'HTTPRoute', name: 'r' },
        { kind: 'Service' },
        { name: 'catalog' },
      ],
      ...[{ kind: 'Service', name: '' }, { kind: 'Service', name: 'a', group: 'apps' }, 'catalog', null],
      ...[
        { kind: 'Service', name: 'a', sectionName: 'http' },
        { kind: 'Service', name: 'a', namespace: 'far' },
        { kind: 'Service', name: 'x'.repeat(254) },
      ],
    ),
  },
);

const hash = block({
  header: value(['x-user', 'X-User'], ['', 'a b', 'x'.repeat(257)]),
  cookie: value(['session'], ['a;b']),
  query: value(['q'], ['a=b']),
  sourceIp: fc.constantFrom<JsonValue>(true, false),
});

const targetRefs = fc.oneof(
  {
    weight: 40,
    arbitrary: fc.uniqueArray(targetRef, {
      minLength: 1,
      maxLength: 2,
      selector: (one) => JSON.stringify(one),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<JsonValue>([], 'catalog', Array(17).fill({ kind: 'Service', name: 'a' })),
  },
) as fc.Arbitrary<JsonValue>;

const BLOCKS = {
  timeouts: block({ request: year, backendRequest: year, idle: year, connect: day }),
  retry: block({
    attempts: count(0, 10),
    on: list(value(['connect-failure', 'reset', 'gateway-error'], ['5xx'])),
    codes: list(value([400, 503, 599], [399, 600, '503'])),
    grpcStatus: list(value(['UNAVAILABLE', 'OK', 'UNAUTHENTICATED'], ['unavailable'])),
    methods: list(value(['GET', 'POST', 'PATCH'], ['get', 'CONNECT'])),
    backoff: block({ base: day, max: day }),
    budget: block({
      percent,
      minPerSecond: value([0, 0.5, COUNT_MAX], [-1, COUNT_MAX + 1]),
      interval: duration(['1s', '24h'], ['999ms', '25h']),
    }),
    bodyBufferBytesMax: count(0, 16 * 1024 * 1024),
  }),
  circuitBreaker: block({
    errorThresholdPercentage: percent,
    volumeThreshold: count(0, COUNT_MAX),
    rollingCountTimeout: duration(['100ms', '24h'], ['99ms', '25h']),
    rollingCountBuckets: count(1, 1_000),
    resetTimeout: day,
    errorCodes: list(
      value([500, 100, 599, '503', '500-599', '500-500'], [99, 600, 500.5, '599-500', '5xx', '500-', '']),
    ),
  }),
  faults: block({
    abort: block({ percent, status: count(200, 599) }),
    delay: block({ percent, time: duration(['0s', '24h'], ['25h']) }),
  }),
  outlierEjection: block({
    consecutiveErrors: count(1, COUNT_MAX),
    baseEjectionTime: day,
    maxEjectionTime: day,
    maxEjectionPercent: count(0, 100),
  }),
  limits: block({
    maxConnections: count(1, COUNT_MAX),
    maxPendingRequests: count(0, COUNT_MAX),
    maxRequests: count(1, COUNT_MAX),
    maxRetries: count(0, COUNT_MAX),
  }),
  loadBalancer: block({ policy: value(['PeakEwma', 'Random', 'Maglev', 'Maglev'], ['maglev']), hash }),
};

/** One or two blocks at a time: of all of them, one would always be unsound. */
export const trafficSpecs: fc.Arbitrary<JsonObject> = fc
  .subarray(Object.keys(BLOCKS) as (keyof typeof BLOCKS)[], { minLength: 1, maxLength: 2 })
  .chain((names) => block({ targetRefs, ...Object.fromEntries(names.map((name) => [name, BLOCKS[name]])) }));

const mode = value(['STRICT', 'PERMISSIVE', 'DISABLE'], ['strict', '']);
export const mtlsSpecs: fc.Arbitrary<JsonObject> = block({
  selector: block({
    matchLabels: fc.oneof(
      {
        weight: 20,
        arbitrary: fc.dictionary(fc.constantFrom('app', 'tier'), fc.constantFrom('web', ''), {
          noNullPrototype: true,
        }),
      },
      { weight: 1, arbitrary: fc.constantFrom<JsonValue>({ app: 1 }, [], 'app=web', { app: null }) },
    ) as fc.Arbitrary<JsonValue>,
  }),
  mode,
  portModes: list(block({ port: count(1, 65_535), mode })),
});
