import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import type { JsonObject } from '../../common/json.ts';
import { build, conditions, KEY, messages, PARENT, route } from '../../test/support/model-objects.ts';
import type { RouteRule } from '../snapshot.ts';

const GOOD = ['Accepted True Accepted', 'ResolvedRefs True ResolvedRefs'];
const TO_V2 = 'backendRefs: [{name: v2, port: 80}]';
/** A route of one rule on Service catalog. */
const rule = (...texts: readonly string[]): JsonObject => ({
  parentRefs: [PARENT],
  rules: [parse(texts.join('\n'))],
});
const filters = (...texts: readonly string[]) => rule(`filters: [${texts.join(', ')}]`, TO_V2);
const request = (text: string) => filters(`{type: RequestHeaderModifier, requestHeaderModifier: {${text}}}`);
const response = (text: string) =>
  filters(`{type: ResponseHeaderModifier, responseHeaderModifier: {${text}}}`);
const redirectFilter = (text: string) => `{type: RequestRedirect, requestRedirect: {${text}}}`;
const redirect = (text: string, ...rest: readonly string[]) =>
  rule(`filters: [${redirectFilter(text)}]`, ...rest);
const rewriteFilter = (text: string) => `{type: URLRewrite, urlRewrite: {${text}}}`;
const rewrite = (text: string, ...rest: readonly string[]) =>
  rule(`filters: [${rewriteFilter(text)}]`, TO_V2, ...rest);
const mirrorFilter = (text: string) =>
  `{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, ${text}}}`;
const full = (value: string) => `path: {type: ReplaceFullPath, replaceFullPath: "${value}"}`;
const prefix = (value: string) => `path: {type: ReplacePrefixMatch, replacePrefixMatch: "${value}"}`;
const ofBackend = (text: string, ...rest: readonly string[]) =>
  rule(`backendRefs: [{name: v2, port: 80, filters: [${text}]}]`, ...rest);

/** The only rule in force. */
function ruleOf(spec: JsonObject): RouteRule {
  const mesh = build(route(spec));
  assert.deepEqual(conditions(mesh), GOOD, messages(mesh));
  const [entry, ...others] = mesh.destinationsFor('x').get(KEY)?.entries ?? [];
  assert.equal(others.length, 0);
  if (entry === undefined) throw new Error('no rule is in force');
  return entry.rule;
}

test('header edits are taken, and those of responses', () => {
  const edit = ruleOf(
    request('set: [{name: Host, value: a.b}], add: [{name: X-A, value: b c}], remove: [X-d]'),
  );
  assert.deepEqual(edit.requestHeaders, { set: [['Host', 'a.b']], add: [['X-A', 'b c']], remove: ['x-d'] });
  const answers = ruleOf(response('set: [{name: server, value: x}], remove: [x-powered-by]'));
  assert.deepEqual(answers.responseHeaders, { set: [['server', 'x']], add: [], remove: ['x-powered-by'] });
});

test('names that only look like those of the mesh are taken, and Expect in responses', () => {
  const taken = ['x_request_id', 'x-b3', 'b_3', 'proxy_authorization', 'x-forwarded-host', 'forwarded'];
  assert.deepEqual(ruleOf(request(`remove: [${taken}]`)).requestHeaders?.remove, taken);
  assert.deepEqual(ruleOf(response('remove: [expect, b3]')).responseHeaders?.remove, ['expect', 'b3']);
});

test('a redirect is taken with all that it says, and with 302 where it says nothing', () => {
  const whole = `scheme: https, hostname: a.example, port: 8443, statusCode: 308, ${full('/b%20c')}`;
  assert.deepEqual(ruleOf(redirect(whole)).redirect, {
    ...{ scheme: 'https', hostname: 'a.example', port: 8443, status: 308 },
    path: { kind: 'full', value: '/b%20c' },
  });
  assert.deepEqual(ruleOf(redirect('')).redirect, {
    ...{ scheme: undefined, hostname: undefined, port: undefined, status: 302, path: undefined },
  });
  for (const status of [301, 302, 303, 307, 308]) {
    assert.equal(ruleOf(redirect(`statusCode: ${status}`)).redirect?.status, status);
  }
});

test('a redirect needs no backend, and nobody is warned that it has none', () => {
  assert.deepEqual(build(route(redirect('hostname: a.example'))).problems, []);
});

test('timeouts and retries of a redirect are told to have no effect', () => {
  for (const more of ['timeouts: {request: 1s}', 'retry: {}']) {
    const mesh = build(route(redirect('', more)));
    assert.deepEqual(conditions(mesh), GOOD);
    assert.deepEqual(
      mesh.problems.map(({ severity, field }) => `${severity} ${field}`),
      ['warning spec.rules[0]'],
    );
  }
});

test('a rewrite is taken, with an empty prefix, too', () => {
  const whole = ruleOf(rewrite(`hostname: a.example, ${full('/b')}`)).rewrite;
  assert.deepEqual(whole, { hostname: 'a.example', path: { kind: 'full', value: '/b' } });
  for (const value of ['', '/', '/x', '/x/']) {
    const spec = rewrite(prefix(value), 'matches: [{path: {value: /a}}]');
    assert.deepEqual(ruleOf(spec).rewrite?.path, { kind: 'prefix', value });
  }
  assert.deepEqual(ruleOf(rewrite(prefix('/x'))).rewrite?.path, { kind: 'prefix', value: '/x' });
});

test('mirrors are taken, several of them, and copy every request unless they say', () => {
  const share = (text: string) => {
    const [only, ...others] = ruleOf(filters(mirrorFilter(text))).mirrors;
    assert.equal(others.length, 0);
    return [only?.cluster, only?.numerator, only?.denominator, only?.invalid];
  };
  const cluster = 'outbound|80||v2.shop.svc.cluster.local';
  assert.deepEqual(share(''), [cluster, 100, 100, undefined]);
  assert.deepEqual(share('percent: 0'), [cluster, 0, 100, undefined]);
  assert.deepEqual(share('percent: 42'), [cluster, 42, 100, undefined]);
  assert.deepEqual(share('fraction: {numerator: 5}'), [cluster, 5, 100, undefined]);
  assert.deepEqual(share('fraction: {numerator: 1, denominator: 3}'), [cluster, 1, 3, undefined]);
  assert.equal(ruleOf(filters(mirrorFilter(''), mirrorFilter('percent: 1'))).mirrors.length, 2);
});

test('a backend has header edits of its own', () => {
  const texts = [
    '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: b}]}}',
    '{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [X-B]}}',
  ];
  const [backend] = ruleOf(ofBackend(texts.join(', '))).backends;
  assert.deepEqual(backend?.requestHeaders, { set: [['X-A', 'b']], add: [], remove: [] });
  assert.deepEqual(backend?.responseHeaders, { set: [], add: [], remove: ['x-b'] });
});

test('a rule and its backends may edit the same headers, and Host', () => {
  const edit =
    '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: a.example}]}}';
  const answer = '{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x-b]}}';
  const both = ruleOf(ofBackend(`${edit}, ${answer}`, `filters: [${edit}, ${answer}]`));
  assert.deepEqual(both.backends[0]?.requestHeaders, both.requestHeaders);
  assert.deepEqual(both.backends[0]?.responseHeaders, both.responseHeaders);
  const rewritten = ruleOf(ofBackend(edit, `filters: [${rewriteFilter('hostname: b.example')}]`));
  assert.equal(rewritten.rewrite?.hostname, 'b.example');
  assert.deepEqual(rewritten.backends[0]?.requestHeaders?.set, [['Host', 'a.example']]);
});

test('where something else is wrong, too, incompatible filters are not the reason', () => {
  const mesh = build(route(redirect('scheme: ftp', TO_V2)));
  assert.equal(conditions(mesh)[0], 'Accepted False UnsupportedValue');
});

const FILTER = 'rules[0].filters[0]';
const EDIT = `${FILTER}.requestHeaderModifier`;
const REDIRECT = `${FILTER}.requestRedirect`;
const MIRROR = `${FILTER}.requestMirror`;
const OF_BACKEND = 'rules[0].backendRefs[0].filters';
const ADD_A = '{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-a, value: b}]}}';

/** What is refused, the field under `spec` that is to blame, and a word of why. */
const UNSOUND: readonly (readonly [name: string, spec: JsonObject, field: string, word: RegExp])[] = [
  ['a filter without a type', filters('{}'), 'rules[0].filters[0].type', /required/],
  ['a filter without its settings', filters('{type: RequestHeaderModifier}'), EDIT, /required/],
  [
    'a filter twice',
    filters(...Array<string>(2).fill('{type: RequestHeaderModifier, requestHeaderModifier: {}}')),
    'rules[0].filters[1].type',
    /repeated/,
  ],
  [
    "another filter's settings",
    filters('{type: RequestHeaderModifier, requestHeaderModifier: {}, cors: {}}'),
    'rules[0].filters[0].cors',
    /not a known field/,
  ],
  [
    'a header edited twice',
    request('set: [{name: X-A, value: b}], add: [{name: x-a, value: b}]'),
    `${EDIT}.add[0].name`,
    /twice/,
  ],
  ['a header removed twice', request('remove: [a, A]'), `${EDIT}.remove[1]`, /twice/],
  ['a header that is no name', request('remove: [a b]'), `${EDIT}.remove[0]`, /header name/],
  ['a number for a header', request('remove: [1]'), `${EDIT}.remove[0]`, /string/],
  [
    'a header smuggled in',
    request('set: [{name: a, value: "b\\r\\nc: d"}]'),
    `${EDIT}.set[0].value`,
    /ASCII/,
  ],
  ['a value that is not ASCII', request('set: [{name: a, value: größer}]'), `${EDIT}.set[0].value`, /ASCII/],
  ['framing', request('set: [{name: Content-Length, value: "1"}]'), `${EDIT}.set[0].name`, /sidecar writes/],
  ['a second Host', request('add: [{name: host, value: a}]'), `${EDIT}.add[0].name`, /can only be set/],
  ['no Host', request('remove: [host]'), `${EDIT}.remove[0]`, /can only be set/],
  [
    'a trace of its own',
    request('set: [{name: traceparent, value: x}]'),
    `${EDIT}.set[0].name`,
    /sidecar writes/,
  ],
  ...[
    ...['b3', 'X-B3-Sampled', 'x-b3-traceid', 'Proxy-Authorization', 'http2-settings', 'TE', 'Trailer'],
    ...['x_forwarded_for', 'X_Heddle-Attempt', 'x-forwarded-client_cert', 'Expect', 'x-request-id'],
  ].map(
    (name) =>
      [
        `an edit of ${name} that would go nowhere`,
        request(`remove: [${name}]`),
        `${EDIT}.remove[0]`,
        name === 'Expect' ? /between the client and the app/ : /sidecar writes/,
      ] as const,
  ),
  [
    'a challenge of a proxy',
    response('set: [{name: Proxy-Authenticate, value: Basic}]'),
    'rules[0].filters[0].responseHeaderModifier.set[0].name',
    /leaves out/,
  ],
  [
    'keep-alive',
    response('remove: [Keep-Alive]'),
    'rules[0].filters[0].responseHeaderModifier.remove[0]',
    /sidecar writes/,
  ],
  [
    'a reason of its own',
    response('set: [{name: x-heddle-reason, value: x}]'),
    'rules[0].filters[0].responseHeaderModifier.set[0].name',
    /sidecar writes/,
  ],
  ['17 filters', filters(...Array<string>(17).fill(mirrorFilter(''))), 'rules[0].filters', /at most 16/],
  ['a redirect without its settings', rule('filters: [{type: RequestRedirect}]'), REDIRECT, /required/],
  ['a redirect by another scheme', redirect('scheme: ftp'), `${REDIRECT}.scheme`, /http, https/],
  ['a redirect with another status', redirect('statusCode: 300'), `${REDIRECT}.statusCode`, /301, 302/],
  ['a status as text', redirect('statusCode: "301"'), `${REDIRECT}.statusCode`, /301, 302/],
  ['a redirect to port 0', redirect('port: 0'), `${REDIRECT}.port`, /1 to 65535/],
  ['a host with a port', redirect('hostname: "a.example:80"'), `${REDIRECT}.hostname`, /without a port/],
  ['a host in capitals', redirect('hostname: A.example'), `${REDIRECT}.hostname`, /lower case/],
  ['no host', redirect('hostname: ""'), `${REDIRECT}.hostname`, /host name/],
  [
    'a rewrite to a host that is none',
    rewrite('hostname: "*.x"'),
    `${FILTER}.urlRewrite.hostname`,
    /host name/,
  ],
  ['a path of no type', redirect('path: {replaceFullPath: /a}'), `${REDIRECT}.path.type`, /required/],
  ['a path of another type', redirect('path: {type: Regex}'), `${REDIRECT}.path.type`, /ReplaceFullPath/],
  [
    'a path without its value',
    redirect('path: {type: ReplaceFullPath}'),
    `${REDIRECT}.path.replaceFullPath`,
    /required/,
  ],
  [
    "the other type's value, too",
    redirect('path: {type: ReplaceFullPath, replaceFullPath: /a, replacePrefixMatch: /b}'),
    `${REDIRECT}.path.replacePrefixMatch`,
    /known field/,
  ],
  ['a relative path', redirect(full('a')), `${REDIRECT}.path.replaceFullPath`, /absolute/],
  ['an empty path', redirect(full('')), `${REDIRECT}.path.replaceFullPath`, /absolute/],
  ['a path with a query', redirect(full('/a?b')), `${REDIRECT}.path.replaceFullPath`, /path characters/],
  [
    'a path with a line break',
    redirect(full('/a\\r\\nb')),
    `${REDIRECT}.path.replaceFullPath`,
    /path characters/,
  ],
  ['a relative prefix', redirect(prefix('a')), `${REDIRECT}.path.replacePrefixMatch`, /absolute/],
  ['a path too long', redirect(full(`/${'a'.repeat(1024)}`)), `${REDIRECT}.path.replaceFullPath`, /1024/],
  [
    'a prefix to replace in an exact path',
    redirect(prefix('/b'), 'matches: [{path: {type: Exact, value: /a}}]'),
    'rules[0].matches',
    /exactly one, of type PathPrefix/,
  ],
  [
    'a prefix to replace of two',
    rewrite(prefix('/b'), 'matches: [{path: {value: /a}}, {path: {value: /c}}]'),
    'rules[0].matches',
    /exactly one/,
  ],
  ['a redirect with backends', redirect('', TO_V2), 'rules[0].backendRefs', /left out/],
  [
    'two redirects',
    rule(`filters: [${redirectFilter('')}, ${redirectFilter('')}]`),
    'rules[0].filters[1].type',
    /repeated/,
  ],
  ['two rewrites', filters(rewriteFilter(''), rewriteFilter('')), 'rules[0].filters[1].type', /repeated/],
  [
    'a redirect and a rewrite',
    rule(`filters: [${redirectFilter('')}, ${rewriteFilter('')}]`),
    'rules[0].filters[1].type',
    /beside RequestRedirect/,
  ],
  [
    'a mirror of what is redirected',
    rule(`filters: [${mirrorFilter('')}, ${redirectFilter('')}]`),
    `${FILTER}.type`,
    /no request goes on/,
  ],
  [
    'edits of a request that is redirected',
    rule(`filters: [${ADD_A}, ${redirectFilter('')}]`),
    `${FILTER}.type`,
    /no request goes on/,
  ],
  [
    'two words on Host',
    filters(
      '{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: a}]}}',
      rewriteFilter('hostname: b'),
    ),
    'rules[0].filters',
    /Host twice/,
  ],
  [
    'a mirror to nowhere',
    filters('{type: RequestMirror, requestMirror: {}}'),
    `${MIRROR}.backendRef.name`,
    /required/,
  ],
  [
    'a mirror with a weight',
    filters('{type: RequestMirror, requestMirror: {backendRef: {name: v2, weight: 1}}}'),
    `${MIRROR}.backendRef.weight`,
    /known field/,
  ],
  ['101 percent', filters(mirrorFilter('percent: 101')), `${MIRROR}.percent`, /0 to 100/],
  ['half a percent', filters(mirrorFilter('percent: 0.5')), `${MIRROR}.percent`, /whole number/],
  [
    'percent and fraction',
    filters(mirrorFilter('percent: 1, fraction: {numerator: 1}')),
    `${MIRROR}.fraction`,
    /one of them/,
  ],
  [
    'a fraction of nothing',
    filters(mirrorFilter('fraction: {numerator: 1, denominator: 0}')),
    `${MIRROR}.fraction.denominator`,
    /1 to/,
  ],
  [
    'a fraction above one',
    filters(mirrorFilter('fraction: {numerator: 2, denominator: 1}')),
    `${MIRROR}.fraction.numerator`,
    /above/,
  ],
  [
    'a fraction without a numerator',
    filters(mirrorFilter('fraction: {denominator: 2}')),
    `${MIRROR}.fraction.numerator`,
    /required/,
  ],
  [
    'a rewrite for one backend',
    ofBackend(rewriteFilter('')),
    `${OF_BACKEND}[0].type`,
    /for one backend.*the rule, or a hostname as Host of a RequestHeaderModifier/,
  ],
  ['a mirror for one backend', ofBackend(mirrorFilter('')), `${OF_BACKEND}[0].type`, /for one backend/],
  ['a redirect for one backend', ofBackend(redirectFilter('')), `${OF_BACKEND}[0].type`, /for one backend/],
  [
    'CORS for one backend',
    ofBackend('{type: CORS, cors: {}}'),
    `${OF_BACKEND}[0].type`,
    /CORS is not supported/,
  ],
  ['a filter of a backend twice', ofBackend(`${ADD_A}, ${ADD_A}`), `${OF_BACKEND}[1].type`, /repeated/],
];
/** Those of them that only say that filters can't stand together. */
const INCOMPATIBLE: ReadonlySet<string> = new Set([
  'a filter twice',
  'a filter of a backend twice',
  'two redirects',
  'two rewrites',
  'a redirect with backends',
  'a redirect and a rewrite',
  'a mirror of what is redirected',
  'edits of a request that is redirected',
  'two words on Host',
]);
for (const [name, spec, field, word] of UNSOUND) {
  test(`a route with ${name} is refused, and spec.${field} is to blame`, () => {
    const mesh = build(route(spec));
    const reason = INCOMPATIBLE.has(name) ? 'IncompatibleFilters' : 'UnsupportedValue';
    assert.equal(conditions(mesh)[0], `Accepted False ${reason}`);
    const blamed = mesh.problems.filter((problem) => problem.field === `spec.${field}`);
    assert.match(blamed.map(({ message }) => message).join() || JSON.stringify(mesh.problems), word);
    assert.equal(mesh.destinationsFor('x').get(KEY)?.entries.length, 0, 'nothing of it is in force');
  });
}

for (const type of ['CORS', 'ExternalAuth', 'ExtensionRef', 'Typo']) {
  test(`the filter ${type} is refused by name`, () => {
    const mesh = build(route(filters(`{type: ${type}, x: {}}`)));
    assert.equal(conditions(mesh)[0], 'Accepted False UnsupportedValue');
    assert.match(messages(mesh), new RegExp(`filters\\[0\\]\\.type ${type} is not supported: .*URLRewrite`));
  });
}
