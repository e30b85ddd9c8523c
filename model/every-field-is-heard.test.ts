import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { isJsonObject, type JsonObject, type JsonValue } from '../common/json.ts';
import { build, conditions, mtlsPolicy, object, policy, route } from '../test/support/model-objects.ts';
import type { SourcedObject } from './objects.ts';
import { fieldName } from './read/fields.ts';

/** Each kind with every field that it has, all of them sound. */
const WHOLE: Readonly<Record<string, { make: (spec: JsonValue) => SourcedObject; spec: string }>> = {
  HTTPRoute: {
    make: (spec) => route(spec),
    spec: `
useDefaultGateways: None
hostnames: [a.example]
parentRefs: [{group: "", kind: Service, namespace: shop, name: catalog, port: 80, sectionName: http}]
rules:
- name: one
  matches:
  - path: {type: PathPrefix, value: /a}
    method: GET
    headers: [{type: Exact, name: a, value: b}]
    queryParams: [{type: Exact, name: a, value: b}]
  filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}
  - type: ResponseHeaderModifier
    responseHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [e]}
  - type: URLRewrite
    urlRewrite: {hostname: a.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}
  - type: RequestMirror
    requestMirror:
      backendRef: {group: "", kind: Service, namespace: shop, name: v2, port: 80}
      percent: 5
  - type: RequestMirror
    requestMirror:
      backendRef: {group: "", kind: Service, namespace: shop, name: v2, port: 80}
      fraction: {numerator: 1, denominator: 3}
  backendRefs:
  - {group: "", kind: Service, namespace: shop, name: v2, port: 80, weight: 1, filters: [
      {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: b}], add: [{name: y, value: d}], remove: [z]}},
      {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x, value: b}], add: [{name: y, value: d}], remove: [z]}},
    ]}
  timeouts: {request: 2s, backendRequest: 1s}
  retry: {codes: [503], attempts: 1, backoff: 50ms}
- name: two
  filters:
  - type: RequestRedirect
    requestRedirect:
      scheme: https
      hostname: a.example
      path: {type: ReplaceFullPath, replaceFullPath: /b}
      port: 8443
      statusCode: 308
`,
  },
  TrafficPolicy: {
    make: (spec) => policy(spec),
    spec: `
targetRefs: [{group: "", kind: Service, namespace: shop, name: catalog}]
timeouts: {request: 5s, backendRequest: 1s, idle: 1m, connect: 1s}
retry:
  attempts: 1
  on: [connect-failure, refused-stream, reset-before-request, reset, gateway-error]
  codes: [502]
  grpcStatus: [UNAVAILABLE]
  methods: [GET, POST]
  backoff: {base: 10ms, max: 100ms}
  budget: {percent: 20, minPerSecond: 10, interval: 10s}
  bodyBufferBytesMax: 1024
circuitBreaker:
  errorThresholdPercentage: 50
  volumeThreshold: 20
  rollingCountTimeout: 10s
  rollingCountBuckets: 10
  resetTimeout: 5s
  errorCodes: ["500-599"]
faults: {abort: {percent: 1, status: 503}, delay: {percent: 1, time: 1s}}
outlierEjection: {consecutiveErrors: 5, baseEjectionTime: 30s, maxEjectionTime: 5m, maxEjectionPercent: 50}
limits: {maxConnections: 1, maxPendingRequests: 1, maxRequests: 1, maxRetries: 1}
loadBalancer: {policy: Maglev, hash: {header: x-user}}
`,
  },
  MTLSPolicy: {
    make: (spec) => mtlsPolicy(spec),
    spec: `
selector: {matchLabels: {app: a}}
mode: STRICT
portModes: [{port: 8080, mode: PERMISSIVE}]
`,
  },
};

type Path = readonly (string | number)[];

/** Every value inside, itself included, with its path. */
function* walk(value: JsonValue, path: Path): Generator<{ value: JsonValue; path: Path }> {
  yield { value, path };
  if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* walk(item, [...path, index]);
  else if (isJsonObject(value)) {
    for (const [key, item] of Object.entries(value))
      if (item !== undefined) yield* walk(item, [...path, key]);
  }
}

/** A copy in which the value at `path` is another one. */
function changed(value: JsonValue, path: Path, to: JsonValue): JsonValue {
  const [step, ...rest] = path;
  if (step === undefined) return to;
  if (Array.isArray(value))
    return value.map((item, index) => (index === step ? changed(item, rest, to) : item));
  const fields = value as JsonObject;
  return { ...fields, [step]: changed(fields[step] ?? null, rest, to) };
}

const isOneOf = (path: Path, ...names: string[]) => names.includes(String(path.at(-1)));

for (const [kind, { make, spec: text }] of Object.entries(WHOLE)) {
  const spec: JsonValue = parse(text);
  const problemsOf = (changedSpec: JsonValue) => {
    const mesh = build(make(changedSpec));
    return { problems: mesh.problems.filter(({ severity }) => severity === 'error'), all: conditions(mesh) };
  };

  test(`${kind}: an object with every field is accepted`, () => {
    const { problems, all } = problemsOf(spec);
    assert.deepEqual(problems, []);
    assert.equal(all[0], 'Accepted True Accepted');
  });

  test(`${kind}: a field that nobody knows is refused wherever it stands`, () => {
    for (const { value, path } of walk(spec, [])) {
      // Labels are free.
      if (!isJsonObject(value) || isOneOf(path, 'matchLabels')) continue;
      const { problems, all } = problemsOf(changed(spec, path, { ...value, slipped: 1 }));
      const field = fieldName(['spec', ...path, 'slipped']);
      assert.equal(all[0], 'Accepted False UnsupportedValue', field);
      assert.ok(
        problems.some((one) => one.field === field && /known field|only one/.test(one.message)),
        field,
      );
    }
  });

  test(`${kind}: a value of the wrong type is refused wherever it stands`, () => {
    for (const { value, path } of walk(spec, [])) {
      for (const wrong of ['no such word', 1.5, true, ['x'], { x: 1 }, [null]] satisfies JsonValue[]) {
        if (isRight(value, wrong, path)) continue;
        const field = fieldName(['spec', ...path]);
        const { problems, all } = problemsOf(changed(spec, path, wrong));
        const told = `${field} as ${JSON.stringify(wrong)}: ${JSON.stringify(problems)}`;
        assert.ok(
          all.some((one) => one.includes(' False ')),
          told,
        );
        // A reference that leads nowhere is blamed as a whole.
        const blamed = fieldName(['spec', ...(isInReference(path) ? path.slice(0, -1) : path)]);
        assert.ok(
          problems.some((one) => one.field?.startsWith(blamed)),
          told,
        );
      }
    }
  });

  test(`${kind}: what slipped out of spec is refused`, () => {
    const sourced = make(spec);
    const slipped = { ...sourced, object: { ...sourced.object, retry: { attempts: 0 } } };
    const mesh = build(slipped);
    assert.equal(conditions(mesh)[0], 'Accepted False UnsupportedValue');
    assert.ok(mesh.problems.some(({ field }) => field === 'retry'));
  });
}

/** A field of a reference itself, not of what a list of backends says besides. */
function isInReference(path: Path): boolean {
  const inList = path.at(-2) === 0 && String(path.at(-3)).endsWith('Refs');
  return inList || path.at(-2) === 'backendRef';
}

/** Whether a replacement is as good as what stood there: free texts, fractions of percents, an object that is empty of sense. */
function isRight(value: JsonValue, wrong: JsonValue, path: Path): boolean {
  if (typeof wrong === 'string' && typeof value === 'string') {
    return (
      isOneOf(path, 'name', 'namespace', 'value', 'group', 'sectionName', 'app', '0') ||
      path.includes('matchLabels')
    );
  }
  if (Array.isArray(wrong) && wrong[0] === 'x') return isOneOf(path, 'hostnames', 'remove');
  if (wrong === 1.5)
    return isOneOf(path, 'percent', 'minPerSecond', 'errorThresholdPercentage', 'maxEjectionPercent');
  return false;
}

test('an object of the same name in another version of the API is the same object', () => {
  const twice = [
    route({ parentRefs: [{ group: '', kind: 'Service', name: 'catalog' }] }),
    object('gateway.networking.k8s.io/v1beta1', 'HTTPRoute', 'r', {}),
  ];
  assert.match(
    build(...twice)
      .problems.map(({ message }) => message)
      .join(),
    /HTTPRoute shop\/r is defined twice/,
  );
});
