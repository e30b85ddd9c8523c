import fc from 'fast-check';
import { endpointSliceObject, type PodRecord, podObject, serviceObject } from '../mesh/manifests.ts';

/** Meshes as somebody could write them, at the edges of what the model takes more often than not. */

const NAMESPACES = ['shop', 'bank'] as const;
const PODS = ['p0', 'p1', 'p2', 'p3'] as const;
const SERVICES = ['s0', 's1', 's2'] as const;
const namespace = fc.constantFrom(...NAMESPACES);
const serviceName = fc.constantFrom(...SERVICES, 'missing');

/** Now and then one that is refused, so that what is refused reaches nobody either. */
const duration = (...more: readonly string[]) =>
  fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom('1s', '1m30s', '23h59m59s999ms', '24h', ...more) },
    { weight: 1, arbitrary: fc.constant('99999h99999h') },
  );
const status = fc.integer({ min: 400, max: 599 });
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** Some of the fields; none is set to undefined, as no manifest does. */
const some = <T extends Record<string, fc.Arbitrary<unknown>>>(fields: T) =>
  fc.record(fields, { requiredKeys: [] });

const headerValue = fc.constantFrom('x', 'a, b', '100%', '%REQ(x)%', '%%', '~'.repeat(200), '"quoted"', '\\');
const path = fc.oneof(
  some({ type: fc.constant('Exact'), value: fc.constantFrom('/', '/a', '/a/', '/a%20b', "/~!$&'()*+,;=:@") }),
  some({ type: fc.constant('PathPrefix'), value: fc.constantFrom('/', '/a', '/a/', '/a/b/') }),
  fc.record({
    type: fc.constant('RegularExpression'),
    value: fc.constantFrom('/.*', '(?i)/a', '/[^/]+', '/é+', '/a|/b', '/[a-z0-9-]{1,63}/\\pL{2,31}'),
  }),
);
const named = (names: readonly string[], values: readonly string[]) =>
  fc.array(
    fc.record({
      name: fc.constantFrom(...names),
      type: fc.constantFrom('Exact', 'RegularExpression'),
      value: fc.constantFrom(...values),
    }),
    { maxLength: 3 },
  );
const match = some({
  path,
  method: fc.constantFrom('GET', 'POST', 'CONNECT'),
  headers: named(['x-user', 'host', 'cookie'], ['1', 'a.*', 'x y', '[0-9]+', '[0-9a-f]{1,255}']),
  queryParams: named(['q', 'Q', 'q-2'], ['1', '%20', '[0-9]+']),
});
const editOf = (set: readonly string[], add: readonly string[], remove: readonly string[]) =>
  some({
    set: fc.uniqueArray(fc.record({ name: fc.constantFrom(...set), value: headerValue }), {
      selector: ({ name }) => name,
      maxLength: 3,
    }),
    add: fc.uniqueArray(fc.record({ name: fc.constantFrom(...add), value: headerValue }), {
      selector: ({ name }) => name,
      maxLength: 2,
    }),
    remove: fc.uniqueArray(fc.constantFrom(...remove), { maxLength: 2 }),
  });
const headerFilters = (edit: ReturnType<typeof editOf>) =>
  fc
    .tuple(maybe(edit), maybe(edit))
    .map(([requests, responses]) => [
      ...(requests === undefined ? [] : [{ type: 'RequestHeaderModifier', requestHeaderModifier: requests }]),
      ...(responses === undefined
        ? []
        : [{ type: 'ResponseHeaderModifier', responseHeaderModifier: responses }]),
    ]);
const ruleEdits = headerFilters(
  editOf(['x-set', 'Host', 'X-Upper'], ['x-add', 'via'], ['x-gone', 'User-Agent']),
);
/** Some of them are edited by the rule, too: whatever it does with them, a backend may do something else. */
const backendEdits = headerFilters(
  editOf(
    ['x-own', 'X-Own-Upper', 'x-set', 'x-gone', 'Via', 'host'],
    ['x-more', 'x-upper', 'user-agent'],
    ['x-less', 'Accept', 'x-add'],
  ),
);
const hostname = fc.constantFrom('a.example', 'x');
const pathModifier = fc.oneof(
  fc
    .constantFrom('/', '/x', '/x/', '/x%20y')
    .map((value) => ({ type: 'ReplaceFullPath', replaceFullPath: value })),
  fc
    .constantFrom('', '/', '/x', '/x/')
    .map((value) => ({ type: 'ReplacePrefixMatch', replacePrefixMatch: value })),
);
const requestRedirect = some({
  scheme: fc.constantFrom('http', 'https'),
  hostname,
  port: fc.constantFrom(80, 443, 8443, 65_535),
  statusCode: fc.constantFrom(301, 302, 303, 307, 308),
});
const requestMirror = fc
  .record({
    backendRef: fc.record({ name: serviceName, port: fc.constantFrom(80, 81) }),
    share: fc.constantFrom(
      ...[{}, { percent: 0 }, { percent: 42 }, { fraction: { numerator: 1, denominator: 2_147_483_647 } }],
    ),
  })
  .map(({ backendRef, share }) => ({ type: 'RequestMirror', requestMirror: { backendRef, ...share } }));
const backend = fc.record({
  filters: backendEdits,
  name: serviceName,
  port: fc.constantFrom(80, 81),
  weight: fc.constantFrom(0, 1, 7, 1_000_000),
});
const matches = fc.array(match, { maxLength: 4 });
const served = fc
  .record({
    edits: ruleEdits,
    path: maybe(pathModifier),
    mirrors: fc.array(requestMirror, { maxLength: 2 }),
    backendRefs: fc.array(backend, { maxLength: 3 }),
    matches,
    prefix: fc.constantFrom('/', '/a', '/a/'),
  })
  .map(({ edits, path: to, mirrors, prefix, ...rest }) => ({
    ...rest,
    ...(to?.type === 'ReplacePrefixMatch' ? { matches: [{ path: { value: prefix } }] } : {}),
    filters: [
      ...edits,
      ...mirrors,
      ...(to === undefined ? [] : [{ type: 'URLRewrite', urlRewrite: { path: to } }]),
    ],
  }));
const rehosted = fc.record({ hostname, backendRefs: fc.array(backend, { maxLength: 2 }) }).map((drawn) => ({
  backendRefs: drawn.backendRefs,
  filters: [{ type: 'URLRewrite', urlRewrite: { hostname: drawn.hostname } }],
}));
const redirected = fc
  .record({
    to: requestRedirect,
    path: maybe(pathModifier),
    matches,
    prefix: fc.constantFrom('/', '/a', '/a/'),
  })
  .map(({ to, path: modifier, prefix, ...rest }) => ({
    ...rest,
    ...(modifier?.type === 'ReplacePrefixMatch' ? { matches: [{ path: { value: prefix } }] } : {}),
    filters: [
      {
        type: 'RequestRedirect',
        requestRedirect: { ...to, ...(modifier === undefined ? {} : { path: modifier }) },
      },
    ],
  }));
const patience = some({
  timeouts: fc.record({
    request: duration('0s', '1ms', '8760h'),
    backendRequest: fc.constantFrom('0s', '1ms'),
  }),
  retry: some({
    attempts: fc.integer({ min: 0, max: 100 }),
    codes: fc.array(status, { maxLength: 3 }),
    backoff: duration('1ms'),
  }),
});
const rule = fc
  .tuple(
    fc.oneof(
      { weight: 4, arbitrary: served },
      { weight: 1, arbitrary: rehosted },
      { weight: 2, arbitrary: redirected },
    ),
    patience,
  )
  .map(([what, how]) => ({ ...what, ...how }));

const route = fc
  .record({ namespace, parent: fc.constantFrom(...SERVICES), rules: fc.array(rule, { maxLength: 4 }) })
  .map(({ namespace: own, parent, rules }) => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `r-${parent}`, namespace: own },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', namespace: 'shop', name: parent, port: 80 }],
      ...(rules.length === 0
        ? {}
        : { rules: rules.map((one, index) => ({ name: `rule-${index}`, ...one })) }),
    },
  }));

const count = fc.constantFrom(1, 2, 1024, 1_000_000);
const percent = fc.constantFrom(0, 1, 33.3, 50, 100);
const trafficSpec = some({
  timeouts: some({
    request: duration('0s', '1ms', '8760h'),
    idle: duration('0s', '1ms', '8760h'),
    connect: duration('1ms'),
  }),
  retry: some({
    attempts: fc.integer({ min: 0, max: 10 }),
    on: fc.uniqueArray(
      fc.constantFrom('connect-failure', 'refused-stream', 'reset-before-request', 'reset', 'gateway-error'),
    ),
    codes: fc.array(status, { maxLength: 3 }),
    grpcStatus: fc.uniqueArray(fc.constantFrom('UNAVAILABLE', 'ABORTED', 'DEADLINE_EXCEEDED')),
    methods: fc.uniqueArray(fc.constantFrom('GET', 'POST')),
    backoff: fc.constantFrom({ base: '1ms' }, { base: '24h', max: '24h' }, { max: '1ms' }),
    budget: some({ percent, minPerSecond: fc.constantFrom(0, 0.5, 1_000_000), interval: duration() }),
    bodyBufferBytesMax: fc.constantFrom(0, 65_536, 16 * 1024 * 1024),
  }),
  faults: some({
    abort: fc.record({ percent, status: fc.integer({ min: 200, max: 599 }) }),
    delay: fc.record({ percent, time: duration('0s') }),
  }),
  circuitBreaker: some({
    errorThresholdPercentage: percent,
    volumeThreshold: fc.constantFrom(0, 1_000_000),
    rollingCountTimeout: duration('100ms'),
    rollingCountBuckets: fc.constantFrom(1, 10, 1_000),
    resetTimeout: duration('1ms'),
    errorCodes: fc.constantFrom([], ['500-599'], [503, '429', '100-599']),
  }),
  outlierEjection: some({
    consecutiveErrors: count,
    baseEjectionTime: duration('1ms'),
    maxEjectionTime: fc.constant('24h'),
    maxEjectionPercent: fc.constantFrom(0, 1, 50, 100),
  }),
  limits: some({ maxConnections: count, maxPendingRequests: count, maxRequests: count, maxRetries: count }),
  loadBalancer: fc.constantFrom(
    { policy: 'RoundRobin' },
    { policy: 'Random' },
    { policy: 'LeastRequest' },
    ...[{ header: 'X-User' }, { cookie: 'session' }, { query: 'q' }, { sourceIp: true }].map((hash) => ({
      policy: 'Maglev',
      hash,
    })),
  ),
});
const trafficPolicy = fc
  .record({ target: fc.constantFrom(...SERVICES), spec: trafficSpec })
  .map(({ target, spec }) => ({
    apiVersion: 'heddle.dev/v1alpha1',
    kind: 'TrafficPolicy',
    metadata: { name: `t-${target}`, namespace: 'shop' },
    spec: { targetRefs: [{ group: '', kind: 'Service', name: target }], ...spec },
  }));
const mode = fc.constantFrom('STRICT', 'PERMISSIVE', 'DISABLE');
const mtlsPolicy = fc
  .record({ namespace, mode, portMode: mode })
  .map(({ namespace: own, mode: whole, portMode }) => ({
    apiVersion: 'heddle.dev/v1alpha1',
    kind: 'MTLSPolicy',
    metadata: { name: 'm', namespace: own },
    spec: { mode: whole, portModes: [{ port: 8080, mode: portMode }] },
  }));

const pods = fc.tuple(
  ...PODS.map((name, index) =>
    fc.record({
      namespace: fc.constant<string>('shop'),
      name: fc.constant<string>(name),
      labels: fc.constantFrom(...SERVICES).map((app) => ({ app })),
      serviceAccount: fc.constantFrom('default', 'a-b.c'),
      ip: fc.constantFrom(`10.244.0.${index}`, `fd10:244::${index}`),
      meshed: fc.boolean(),
      port: fc.constant(8080),
      terminating: fc.boolean(),
    }),
  ),
);

const portName = fc.constantFrom('http', 'http', 'http', 'anything', 'http2', 'grpc', 'tcp-x', 'tls');

function services(members: readonly PodRecord[], portNames: readonly string[]): object[] {
  return SERVICES.flatMap((name, index) => {
    const record = {
      ...{ namespace: 'shop', name, port: 80, targetPort: 8080, selector: { app: name } },
      ...{
        portName: portNames[index] ?? 'http',
        clusterIp: index === 2 ? 'fd10:96::1' : `10.96.0.${index + 1}`,
      },
    };
    return [serviceObject(record), endpointSliceObject(record, members)];
  });
}

const zone = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/zone': 'a' } },
};

export const meshObjects: fc.Arbitrary<readonly object[]> = fc
  .record({
    pods,
    portNames: fc.tuple(portName, portName, portName),
    routes: fc.uniqueArray(route, { selector: ({ metadata }) => `${metadata.namespace}/${metadata.name}` }),
    traffic: fc.uniqueArray(trafficPolicy, { selector: ({ metadata }) => metadata.name }),
    mtls: fc.uniqueArray(mtlsPolicy, { selector: ({ metadata }) => metadata.namespace }),
    zoned: fc.boolean(),
  })
  .map(({ pods: members, portNames, routes, traffic, mtls, zoned }) => [
    ...members.map(podObject),
    ...services(members, portNames),
    ...routes,
    ...traffic,
    ...mtls,
    ...(zoned ? [zone] : []),
  ]);

/** `mesh.yaml`, parsed. */
export const meshSettings: fc.Arbitrary<object> = some({
  trustDomain: fc.constantFrom('cluster.local', 'a_b-c.d'),
  mtls: fc.record({ mode }),
  outbound: fc.record({ unknown: fc.constantFrom('ALLOW', 'DENY') }),
  tracing: some({
    samplingPercent: percent,
    keepErrors: fc.boolean(),
    keepSlowerThan: duration('0s', '1ms', '8760h'),
    otlpEndpoint: fc.constantFrom('', 'collector:4317', '[::1]:4317'),
  }),
  detection: fc.record({ timeout: fc.constantFrom('1ms', '60s') }),
  drain: fc.record({ grace: duration('0s', '1ms', '8760h') }),
});
