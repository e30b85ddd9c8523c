import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import type { JsonObject } from '../../common/json.ts';
import { build, conditions, KEY, messages, PARENT, route, yaml } from '../../test/support/model-objects.ts';

const GOOD = ['Accepted True Accepted', 'ResolvedRefs True ResolvedRefs'];
const REFUSED = 'Accepted False UnsupportedValue';
/** The spec of a route on Service catalog; its rules have a backend unless the YAML says otherwise. */
const rules = (...texts: readonly string[]): JsonObject => ({
  parentRefs: [PARENT],
  rules: texts.map((text) => ({ backendRefs: [{ name: 'v2', port: 80 }], ...parse(text) })),
});
const match = (text: string) => rules(`matches: [{${text}}]`);
const times = (count: number, text: string) => `[${Array(count).fill(text).join(', ')}]`;

const SOUND: readonly (readonly [string, JsonObject])[] = [
  ['no rules at all', { parentRefs: [PARENT] }],
  ['an exact path of all legal characters', match(`path: {type: Exact, value: "/a/~b!$&'()*+,;=:@%20"}`)],
  ['a method', match('method: PATCH')],
  ['headers', match('headers: [{name: A, value: b}, {type: RegularExpression, name: c, value: "[a-z]+ b"}]')],
  [
    'queries',
    match('queryParams: [{name: q, value: a%20b}, {type: RegularExpression, name: r, value: "."}]'),
  ],
  ['a regular expression', match('path: {type: RegularExpression, value: "(?i)/a[0-9]{1,3}|/b"}')],
  ['a prefix with a slash at its end', match('path: {value: /a/}')],
  ['no timeout', rules('timeouts: {request: 0s, backendRequest: 5s}')],
  ['a duration of several units', rules('timeouts: {request: 1h30m5s500ms}')],
  ['a retry', rules('retry: {codes: [500, 429], attempts: 3, backoff: 100ms}')],
  ['an empty retry', rules('retry: {}')],
  ['weights', rules('backendRefs: [{name: v2, port: 80, weight: 0}, {name: v2, port: 80, weight: 1000000}]')],
  ['rule names', rules('name: a.b-c', 'name: d', '{}')],
  ['no default gateways', { ...rules('{}'), useDefaultGateways: 'None' }],
  ['host names', { ...rules('{}'), hostnames: ['a.example'] }],
  ['a port by name', { parentRefs: [{ ...PARENT, sectionName: 'http' }] }],
  ['a port by name and number', { parentRefs: [{ ...PARENT, port: 80, sectionName: 'http' }] }],
  ['null, which is as good as absent', match('path: null, method: null, headers: null')],
];
for (const [name, spec] of SOUND) {
  test(`a route with ${name} is accepted`, () => {
    const mesh = build(route(spec));
    assert.deepEqual(conditions(mesh), GOOD, messages(mesh));
    assert.notEqual(mesh.destinationsFor('x').get(KEY)?.entries.length, 0);
  });
}

const PATH = 'rules[0].matches[0].path.value';
const HEADER = 'rules[0].matches[0].headers[0]';
const BACKEND = 'rules[0].backendRefs[0]';

/** What is refused, the field under `spec` that is to blame, and a word of why. */
const UNSOUND: readonly (readonly [name: string, spec: JsonObject, field: string, word: RegExp])[] = [
  ['an empty list of rules', rules(), 'rules', /at least one/],
  ['17 rules', rules(...Array<string>(17).fill('{}')), 'rules', /at most 16/],
  ['65 matches', rules(`matches: ${times(65, '{}')}`), 'rules[0].matches', /at most 64/],
  [
    '130 matches in all',
    rules(...Array<string>(13).fill(`matches: ${times(10, '{}')}`)),
    'rules',
    /at most 128/,
  ],
  [
    '33 parents',
    { parentRefs: Array.from({ length: 33 }, (_, port) => ({ ...PARENT, port: port + 1 })) },
    'parentRefs',
    /at most 32/,
  ],
  [
    '17 backends',
    rules(`backendRefs: ${times(17, '{name: v2, port: 80}')}`),
    'rules[0].backendRefs',
    /at most 16/,
  ],
  ['two rules of one name', rules('name: a', 'name: a'), 'rules[1].name', /another rule/],
  ['a name with capitals', rules('name: Aa'), 'rules[0].name', /a-z/],
  ['a name that is empty', rules('name: ""'), 'rules[0].name', /a-z/],
  ['a relative path', match('path: {value: a}'), PATH, /absolute/],
  ['an empty path', match('path: {value: ""}'), PATH, /absolute/],
  ['two slashes', match('path: {value: /a//b}'), PATH, /\/\//],
  ['a dot segment', match('path: {value: /a/..}'), PATH, /\.\./],
  ['a slash in disguise', match('path: {value: /a%2Fb}'), PATH, /%2f/],
  ['a fragment', match('path: {value: "/a#b"}'), PATH, /path characters/],
  ['a query in a path', match('path: {value: "/a?b"}'), PATH, /path characters/],
  ['a path too long', match(`path: {value: /${'a'.repeat(1024)}}`), PATH, /1024/],
  ['a bad expression', match('path: {type: RegularExpression, value: "("}'), PATH, /RE2.*missing/],
  ['an expression that looks ahead', match('path: {type: RegularExpression, value: "/a(?=b)"}'), PATH, /RE2/],
  [
    'an expression that looks back',
    match('headers: [{type: RegularExpression, name: a, value: "(a)\\\\1"}]'),
    `${HEADER}.value`,
    /RE2/,
  ],
  [
    'an unknown type of match',
    match('path: {type: Suffix, value: /a}'),
    'rules[0].matches[0].path.type',
    /Exact, PathPrefix/,
  ],
  ['a method in small letters', match('method: get'), 'rules[0].matches[0].method', /GET/],
  ['a pseudo header', match('headers: [{name: ":path", value: a}]'), `${HEADER}.name`, /token/],
  ['a header without a value', match('headers: [{name: a, value: ""}]'), `${HEADER}.value`, /empty/],
  ['a header value no request has', match('headers: [{name: a, value: " b"}]'), `${HEADER}.value`, /ASCII/],
  [
    'a query value no query has',
    match('queryParams: [{name: a, value: b c}]'),
    'rules[0].matches[0].queryParams[0].value',
    /%20/,
  ],
  [
    '17 headers',
    match(`headers: ${times(17, '{name: a, value: b}')}`),
    'rules[0].matches[0].headers',
    /at most 16/,
  ],
  [
    'a weight of -1',
    rules('backendRefs: [{name: v2, port: 80, weight: -1}]'),
    `${BACKEND}.weight`,
    /0 to 1000000/,
  ],
  [
    'a weight as text',
    rules('backendRefs: [{name: v2, port: 80, weight: "50"}]'),
    `${BACKEND}.weight`,
    /whole number/,
  ],
  ['a backend without a name', rules('backendRefs: [{port: 80}]'), `${BACKEND}.name`, /required/],
  ['a number for a duration', rules('timeouts: {request: 10}'), 'rules[0].timeouts.request', /250ms/],
  ['a fraction of a second', rules('timeouts: {request: 1.5s}'), 'rules[0].timeouts.request', /250ms/],
  ['a duration of six digits', rules('timeouts: {request: 100000ms}'), 'rules[0].timeouts.request', /250ms/],
  ['a duration below zero', rules('timeouts: {request: -1s}'), 'rules[0].timeouts.request', /250ms/],
  [
    'an attempt longer than the request',
    rules('timeouts: {request: 1s, backendRequest: 1001ms}'),
    'rules[0].timeouts.backendRequest',
    /longer/,
  ],
  ['a status that is none', rules('retry: {codes: [200]}'), 'rules[0].retry.codes[0]', /400 to 599/],
  ['attempts below zero', rules('retry: {attempts: -1}'), 'rules[0].retry.attempts', /0 to 100/],
  ['no backoff at all', rules('retry: {backoff: 0s}'), 'rules[0].retry.backoff', /at least 1ms/],
  [
    'sticky sessions',
    rules('sessionPersistence: {type: Cookie}'),
    'rules[0].sessionPersistence',
    /not supported/,
  ],
  ['default gateways', { ...rules('{}'), useDefaultGateways: 'All' }, 'useDefaultGateways', /not supported/],
  ['a host name that is none', { ...rules('{}'), hostnames: [1] }, 'hostnames[0]', /string/],
  [
    'the same parent twice',
    { parentRefs: [PARENT, { ...PARENT, namespace: 'shop' }] },
    'parentRefs[1]',
    /second time/,
  ],
  [
    'a parent and a port of it',
    { parentRefs: [PARENT, { ...PARENT, port: 80 }] },
    'parentRefs[1]',
    /port in both/,
  ],
];
for (const [name, spec, field, word] of UNSOUND) {
  test(`a route with ${name} is refused, and spec.${field} is to blame`, () => {
    const mesh = build(route(spec));
    assert.equal(conditions(mesh)[0], REFUSED);
    const blamed = mesh.problems.find((problem) => problem.field === `spec.${field}`);
    assert.match(blamed?.message ?? `none of ${JSON.stringify(mesh.problems)}`, word);
    assert.ok(messages(mesh).includes(`${blamed?.message} (test.yaml:1)`), messages(mesh));
    assert.equal(mesh.destinationsFor('x').get(KEY)?.entries.length, 0, 'nothing of it is in force');
  });
}

test('a refusal names the line of the field', () => {
  const mesh = build(
    ...yaml(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: catalog}]
  rules:
  - backendRefs: [{name: v2, port: 80}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set:
        - {name: X-A, value: b}
    - type: CORS
      cors: {}
`),
  );
  assert.deepEqual(
    mesh.problems.map(({ line, field }) => [line, field]),
    [[13, 'spec.rules[0].filters[1].type']],
  );
  assert.match(messages(mesh), /test\.yaml:13/);
});

test('rules that can only answer 500 are said to', () => {
  const mesh = build(route(rules('backendRefs: []', 'backendRefs: [{name: v2, port: 80, weight: 0}]')));
  assert.deepEqual(conditions(mesh), GOOD);
  assert.deepEqual(
    mesh.problems.map(({ severity, field }) => [severity, field]),
    [
      ['warning', 'spec.rules[0]'],
      ['warning', 'spec.rules[1]'],
    ],
  );
});

test('rules without a name are told apart from rules whose name is a number', () => {
  const mesh = build(route(rules('{}', 'name: "0"')));
  assert.deepEqual(
    mesh
      .destinationsFor('x')
      .get(KEY)
      ?.entries.map(({ rule: { id } }) => id),
    ['HTTPRoute/shop/r#rules[0]', 'HTTPRoute/shop/r#0'],
  );
});
