import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { JsonObject } from '../../common/json.ts';
import { findEnvoy } from '../support/envoy.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';
import type { AppHandler } from './mesh/app.ts';
import { namespaceYaml } from './mesh/documents.ts';
import { startMesh, type TestMesh, type TestPod } from './mesh/harness.ts';
import type { Page, PageOptions } from './mesh/pages.ts';
import { type StockEnvoy, startEnvoy } from './stock-envoy/process.ts';

/** Generated rules over alphabets so small that they overlap and tie, and requests that meet them. */

leakCheck();

const envoy = findEnvoy();
const ROUTES = 40;
const REQUESTS = 25;
const SEED = 31;

let mesh: TestMesh;
let stock: StockEnvoy;
let web: TestPod;

before(async () => {
  if (!envoy.ok) return;
  mesh = await startMesh();
  mesh.apply('shop.yaml', namespaceYaml('shop'));
  for (const name of ['catalog', 'copy']) {
    mesh.addService({ namespace: 'shop', name, port: 80, targetPort: 8080, selector: { app: name } });
    const echo: AppHandler = ({ method, url, headers }, response) =>
      void response.end(`${name} ${method} ${url} ${headers.host}`);
    await mesh.addPod({ namespace: 'shop', name, serviceAccount: name, app: echo });
  }
  web = await mesh.addPod({ namespace: 'shop', name: 'web' });
  const pod = { namespace: 'shop', name: 'edge', labels: { app: 'edge' }, serviceAccount: 'edge' };
  stock = await startEnvoy(mesh, {
    ...{ binary: envoy.value, api: 'DELTA_GRPC' },
    pod: { ...pod, ip: '127.245.0.10', meshed: false, port: 9999 },
  });
});

after(async () => {
  await stock?.stop();
  await mesh?.close();
});

const PATHS = ['/', '/a', '/a/', '/a/b', '/a/b/', '/ab', '/A', '/a%20b', '/a/b/c', '/x.y', '/$&'] as const;
const PATTERNS = ['/a.*', '/(a|b)', '/a|/b', '.*', '/[ab]+/b?', '(?i)/a/b', '/a/[^/]+', '/x.y'] as const;
const oneOf = <T>(...values: readonly T[]) => fc.constantFrom(...values);
const some = <T extends Record<string, fc.Arbitrary<unknown>>>(fields: T) =>
  fc.record(fields, { requiredKeys: [] });

const prefix = fc.record({ type: oneOf('PathPrefix'), value: oneOf(...PATHS) });
const anyPath = fc.oneof(
  prefix,
  fc.record({ type: oneOf('Exact'), value: oneOf(...PATHS) }),
  fc.record({ type: oneOf('RegularExpression'), value: oneOf(...PATTERNS) }),
);
const named = (names: readonly string[], values: readonly string[]) =>
  fc.uniqueArray(
    fc.oneof(
      fc.record({ name: oneOf(...names), value: oneOf(...values) }),
      fc.record({
        name: oneOf(...names),
        type: oneOf('RegularExpression'),
        value: oneOf('.*', '[12]', '1+', '1|2', '(?i)x'),
      }),
    ),
    { maxLength: 2, selector: ({ name }) => name },
  );
const matchOf = (path: fc.Arbitrary<object>) =>
  some({
    path,
    method: oneOf('GET', 'POST'),
    headers: named(['x-x', 'X-Y'], ['1', '2', '1, 2', 'X']),
    queryParams: named(['q', 'r'], ['1', 'a=b']),
  });
const replaced = fc.oneof(
  fc.record({ type: oneOf('ReplaceFullPath'), replaceFullPath: oneOf(...PATHS) }),
  fc.record({
    type: oneOf('ReplacePrefixMatch'),
    replacePrefixMatch: oneOf('', '/', '/a/', '/a/b/', '/x.y'),
  }),
);
const url = { hostname: oneOf('n.example'), path: replaced };
const filter = fc.oneof(
  some(url).map((urlRewrite) => ({ type: 'URLRewrite', urlRewrite })),
  some({ ...url, scheme: oneOf('http', 'https'), port: oneOf(80, 443, 8080) }).map((requestRedirect) => ({
    type: 'RequestRedirect',
    requestRedirect,
  })),
);
const to = (name: string, weight = 1) => ({ name, port: 80, weight });
/** Never two of which one has to be drawn. */
const backends = oneOf([to('catalog')], [to('copy')], [to('missing')], [to('catalog', 0), to('copy')], []);

const rule = fc.oneof(
  { weight: 1, arbitrary: fc.record({ matches: fc.array(matchOf(anyPath), { maxLength: 2 }), backends }) },
  { weight: 1, arbitrary: fc.record({ matches: fc.tuple(fc.record({ path: prefix })), backends, filter }) },
);
type Rule = typeof rule extends fc.Arbitrary<infer T> ? T : never;

/** Which of the rules was chosen stands in the response. */
function ruleObject(drawn: Rule, index: number): JsonObject {
  const mark = {
    type: 'ResponseHeaderModifier',
    responseHeaderModifier: { set: [{ name: 'x-rule', value: `r${index}` }] },
  };
  const more = 'filter' in drawn ? [drawn.filter] : [];
  const redirects = more.some(({ type }) => type === 'RequestRedirect');
  const object = {
    matches: drawn.matches,
    filters: [mark, ...more],
    ...(redirects ? {} : { backendRefs: drawn.backends }),
  };
  return JSON.parse(JSON.stringify(object));
}

const request = fc.record({
  host: oneOf('catalog', 'catalog:80'),
  path: oneOf(...PATHS, '/a/b/c/d', '/b', '/a//b', '/a/b//', '/ab/c', '/a;x', '/$&/z'),
  query: oneOf('', '', '?q=1', '?q=2&q=1', '?r=11&q=1', '?Q=1', '?q', '?q=&r=1', '?q=a=b', '?r', '?q=1&r'),
  method: oneOf('GET', 'GET', 'POST', 'PUT'),
  headers: some({ 'x-x': oneOf('1', '2', '11', '1, 2', 'X', ''), 'x-y': oneOf('1', 'x') }),
});

async function use(rules: readonly JsonObject[], turn: number): Promise<void> {
  const marker = `/mark-${turn}`;
  const marking = {
    matches: [{ path: { type: 'Exact', value: marker } }],
    filters: [{ type: 'RequestRedirect', requestRedirect: { statusCode: 307 } }],
  };
  const spec = {
    parentRefs: [{ group: '', kind: 'Service', name: 'catalog', port: 80 }],
    rules: [...rules, marking],
  };
  const route = { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute' };
  mesh.apply(
    'catalog.json',
    JSON.stringify({ ...route, metadata: { name: 'catalog', namespace: 'shop' }, spec }),
  );
  const isThere = (page: Promise<Page>) =>
    page.then(
      ({ status }) => status === 307,
      () => false,
    );
  await eventually(
    async () =>
      (await isThere(web.client.request(`http://catalog${marker}`))) &&
      (await isThere(stock.request('catalog', marker))),
    { deadlineMs: 10_000, what: `route ${turn} of seed ${SEED} is in force: ${JSON.stringify(spec)}` },
  );
}

/** Status, rule, and where it went or is sent to. A port that the scheme implies may be written. */
function outcome({ status, headers, body }: Page): string {
  if (headers.location !== undefined)
    return `${status} ${headers['x-rule']} ${new URL(headers.location).href}`;
  return status === 200 ? `200 ${headers['x-rule']} ${body}` : String(status);
}

test('generated rules lead requests the same way through a sidecar and a stock Envoy', {
  skip: envoy.ok ? false : envoy.error,
}, async () => {
  const routes = fc.sample(fc.array(rule, { minLength: 4, maxLength: 12 }), { numRuns: ROUTES, seed: SEED });
  const requests = fc.sample(request, { numRuns: ROUTES * REQUESTS, seed: SEED });
  const seen = new Set<string>();
  for (const [turn, drawn] of routes.entries()) {
    const rules = drawn.map(ruleObject);
    await use(rules, turn);
    for (const { host, path, query, ...rest } of requests.slice(turn * REQUESTS, (turn + 1) * REQUESTS)) {
      const options: PageOptions = JSON.parse(JSON.stringify(rest));
      const target = path + query;
      const ours = outcome(await web.client.request(`http://${host}${target}`, options));
      const theirs = outcome(await stock.request(host, target, options));
      const what = `${host}${target} ${JSON.stringify(rest)} with ${JSON.stringify(rules)}`;
      assert.equal(ours, theirs, what);
      seen.add(ours.slice(0, 3));
    }
  }
  assert.deepEqual([...seen].toSorted(), ['200', '302', '404', '500'], 'the requests met all kinds of rules');
});
