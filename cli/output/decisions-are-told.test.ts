import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import { seededRandom } from '../../common/random.ts';
import { buildMesh } from '../../model/build.ts';
import { explain } from '../../model/explain.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { idleState } from '../../model/state.ts';
import { parseManifests } from '../../sources/files/parse.ts';
import { palette } from './colour.ts';
import { type ExplainAnswer, formatExplanation } from './explanation.ts';
import { formatMicroseconds, formatWaterfall, rowsOf } from './waterfall.ts';

const MANIFESTS = `
{apiVersion: v1, kind: Service, metadata: {name: catalog, namespace: shop}, spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80, targetPort: 8080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: v2, namespace: shop}, spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80, targetPort: 8080}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: v2-1, namespace: shop, labels: {kubernetes.io/service-name: v2}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [127.244.0.2], conditions: {ready: true}, targetRef: {kind: Pod, name: v2-a}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: canary, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: catalog}]
  rules:
  - name: beta
    matches: [{headers: [{name: x-user, value: beta}]}]
    timeouts: {request: 2s}
    backendRefs: [{name: v2, port: 80}]
  - name: moved
    matches: [{path: {value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example, statusCode: 301}}]
  - name: old
    matches: [{path: {value: /old}}]
    filters:
    - {type: URLRewrite, urlRewrite: {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, percent: 100}}
    backendRefs: [{name: v2, port: 80}]
  - name: rest
    backendRefs: [{name: catalog, port: 80}]
`;
const mesh = buildMesh(parseManifests(MANIFESTS, 'm').objects, DEFAULT_MESH_SETTINGS);

function told(
  headers: Record<string, string>,
  signs = false,
  more: Partial<ExplainAnswer> = {},
  path = '/items',
): string {
  const request = {
    ...{ method: 'GET', path, query: '', sourceAddress: undefined },
    header: (name: string) => headers[name],
  };
  const key = 'catalog.shop.svc.cluster.local:80';
  const answer: ExplainAnswer = {
    ...explain(mesh.snapshotFor('shop'), key, request, idleState(), 0, seededRandom(1)),
    ...{
      from: { namespace: 'shop', name: 'web-1' },
      url: 'http://catalog/items',
      state: 'the live state of shop/web-1',
    },
    ...more,
  };
  return formatExplanation(answer, { palette: palette(false), signs, headers: Object.entries(headers) });
}

test('a decision is told with its winner, its loser and why, endpoint, timeouts, retries and breaker', () => {
  const text = told({ 'x-user': 'beta' });
  assert.match(text, /^GET http:\/\/catalog\/items from shop\/web-1\n {2}x-user: beta\n/);
  assert.match(text, /It goes to shop\/v2 port 80, pod shop\/v2-a\n {2}at 127\.244\.0\.2:8080, in plaintext/);
  assert.match(text, /chosen {3}HTTPRoute\/shop\/canary#beta: .*header x-user is "beta"\n {6}matched/);
  assert.match(text, /skipped {2}HTTPRoute\/shop\/canary#rest: .*\n {6}matches too, but .*#beta comes first/);
  assert.match(text, /Timeouts {7}request 2s, per attempt none, to connect 2s, idle 5m/);
  assert.match(text, /Retries {8}up to 2 on connect-failure/);
  assert.match(text, /Breaker {8}none/);
  assert.match(text, /Decided with {3}the live state of shop\/web-1/);
  assert.equal(text.includes('\u001b'), false);
});

test('signs stand for words on a terminal', () => {
  assert.match(told({ 'x-user': 'beta' }, true), /✓ HTTPRoute\/shop\/canary#beta/);
});

test("an answer of the mesh's own is told with status, code and reason", () => {
  const text = told({});
  assert.match(text, /rejected HTTPRoute\/shop\/canary#beta: .*\n {6}header x-user is absent/);
  assert.match(
    text,
    /The mesh itself answers 503 \(no-endpoints\)\n {2}shop\/catalog port 80 has no ready endpoint/,
  );
});

test('a redirect is told with where it leads', () => {
  const text = told({}, false, {}, '/moved');
  assert.match(text, /The mesh itself answers 301: a redirect\n {2}to http:\/\/new\.example\/moved\n/);
  assert.doesNotMatch(text, /Timeouts|Retries/);
});

test('a rewrite and a copy are told beside where the request goes', () => {
  const text = told({ host: 'catalog' }, false, {}, '/old/a');
  assert.match(text, /in plaintext\n {2}host catalog becomes new\.example, path \/old\/a becomes \/new\/a\n/);
  assert.match(
    text,
    /Copies\n {2}chosen {3}shop\/v2 port 80: 100 of 100 requests are copied: this one to 127\.244\.0\.2:8080/,
  );
});

test('what a trace recorded stands below what would be decided now', () => {
  const reasons = [
    { stage: 'route', subject: 'HTTPRoute/x', outcome: 'chosen', text: 'matched then' },
  ] as const;
  assert.match(
    told({}, false, { recorded: { spanId: 'abc', reasons } }),
    /Recorded .*abc\)\n {2}chosen {3}HTTPRoute\/x: matched then/,
  );
  assert.match(told({}, false, { recorded: { spanId: 'abc', reasons: [] } }), /no reasons, because/);
});

const span = (
  spanID: string,
  parent: string,
  startTime: number,
  duration: number,
  tags: Record<string, JsonValue> = {},
): JsonValue => ({
  ...{ spanID, operationName: `op ${spanID}`, startTime, duration, processID: 'p1' },
  references: parent === '' ? [] : [{ refType: 'CHILD_OF', spanID: parent }],
  tags: Object.entries(tags).map(([key, value]) => ({ key, value })),
});
const trace = (...spans: JsonValue[]): JsonValue => ({ spans, processes: { p1: { serviceName: 'web' } } });

test('spans stand under their parents by start, orphans and circles as roots', () => {
  const rows = rowsOf(
    trace(
      span('late', 'root', 50, 5),
      span('root', '', 0, 100),
      span('early', 'root', 10, 5),
      span('orphan', 'gone', 20, 5),
      span('x', 'y', 0, 1),
      span('y', 'x', 0, 1),
    ),
  );
  assert.deepEqual(
    rows.map((row) => `${row.depth} ${row.operation}`),
    ['0 op root', '1 op early', '1 op late', '0 op orphan', '0 op x', '0 op y'],
  );
});

test('bars stand where and as long as their spans do', () => {
  const rows = rowsOf(trace(span('a', '', 0, 100), span('b', 'a', 50, 50), span('c', 'a', 99, 0)));
  const text = formatWaterfall(rows, { palette: palette(false), columns: 60, signs: false });
  const named = '  web  op b  '.length;
  const took = ' 12345678'.length;
  const [a, b, c] = text.split('\n').map((line) => line.slice(named, -took).trimEnd());
  const whole = (a ?? '').length;
  assert.match(a ?? '', /^=+$/);
  assert.equal((b ?? '').trimStart().length, Math.round(whole / 2));
  assert.equal((b ?? '').length, whole);
  assert.equal((c ?? '').trimStart(), '=', 'the shortest span still shows');
});

test('status, breaker, reason and route stand at the end of a line', () => {
  const tags = {
    'span.kind': 'client',
    'http.response.status_code': 503,
    'heddle.breaker.state': 'open',
    'heddle.reason': 'circuit-open',
    error: true,
  };
  const text = formatWaterfall(rowsOf(trace(span('a', '', 0, 1_500, tags))), {
    ...{ palette: palette(false), columns: 80, signs: false },
  });
  assert.match(text, /^web {2}→ op a .* 1\.5ms {2}503 {2}breaker open {2}circuit-open\n$/);
});

test("a copy's spans say that they are a copy's, and still show their errors", () => {
  const failed = { error: true, 'http.response.status_code': 503 };
  const rows = rowsOf(
    trace(
      span('a', '', 0, 9),
      span('b', 'a', 1, 5, { ...failed, 'heddle.mirror': true }),
      span('c', 'b', 2, 3, failed),
    ),
  );
  assert.deepEqual(
    rows.map(({ failed, copy }) => [failed, copy]),
    [
      [false, false],
      [true, true],
      [true, true],
    ],
  );
  const text = formatWaterfall(rows, { palette: palette(false), columns: 80, signs: false });
  assert.equal(text.match(/503 {2}copy\n/g)?.length, 2);
});

test('a deep trace and long names stay on a line', () => {
  const deep = Array.from({ length: 60 }, (_, n) => span(`s${n}`, n === 0 ? '' : `s${n - 1}`, n, 100 - n));
  const text = formatWaterfall(rowsOf(trace(...deep)), {
    palette: palette(false),
    columns: 100,
    signs: true,
  });
  assert.equal(text.split('\n').length, 61);
  assert.ok(text.split('\n').every((line) => line.length <= 100));
});

test('durations are short', () => {
  assert.deepEqual([0, 999, 1_000, 12_345, 123_456, 1_500_000].map(formatMicroseconds), [
    ...['0µs', '999µs', '1.0ms', '12.3ms', '123ms', '1.50s'],
  ]);
});
