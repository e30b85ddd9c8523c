import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../common/random.ts';
import { endpoint, object, pod, request, service, slice, yaml } from '../test/support/model-objects.ts';
import { buildMesh } from './build.ts';
import { decide } from './decide.ts';
import type { Mesh } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import { rewrittenPath } from './route/rewrite.ts';
import { DEFAULT_MESH_SETTINGS } from './settings.ts';
import { idleState } from './state.ts';

/**
 * What the Gateway API asks of a mesh (GEP-1294 and its conformance tests), asked of the model: where would this call go?
 * Services front, blue and green of namespace market; front has the pods of both. Clients call cluster addresses.
 */

const MARKET = { namespace: 'market' };
const PORTS = [
  { name: 'http', port: 80, appProtocol: 'http', targetPort: 8080 },
  { name: 'http-alt', port: 8080, appProtocol: 'http' },
  { name: 'https', port: 443, targetPort: 8443 },
  { name: 'tcp', port: 9090 },
  { name: 'grpc', port: 7070 },
];
const SLICE_PORTS = [
  ...[
    { name: 'http', port: 8080 },
    { name: 'http-alt', port: 8080 },
    { name: 'https', port: 8443 },
  ],
  ...[
    { name: 'tcp', port: 9090 },
    { name: 'grpc', port: 7070 },
  ],
];
const IP = { front: '10.96.1.1', blue: '10.96.1.2', green: '10.96.1.3' } as const;
const POD_IP = { blue: '10.244.1.2', green: '10.244.1.3' } as const;
const [BLUE, GREEN] = [endpoint('blue-1', POD_IP.blue), endpoint('green-1', POD_IP.green)];
const WORLD: readonly SourcedObject[] = [
  ...(['front', 'blue', 'green'] as const).map((name) => service(name, IP[name], PORTS, MARKET)),
  ...(['blue', 'green'] as const).map((name) => pod(`${name}-1`, POD_IP[name], MARKET)),
  ...[slice('front', [BLUE, GREEN], SLICE_PORTS, MARKET), slice('blue', [BLUE], SLICE_PORTS, MARKET)],
  slice('green', [GREEN], SLICE_PORTS, MARKET),
];

const TO_FRONT = '{group: "", kind: Service, name: front, port: 80}';

/** A mesh with routes, each given by its parent and its rules; they are accepted, and their references resolved. */
function meshOf(...routes: readonly (readonly [parents: string, rules: string, namespace?: string])[]): Mesh {
  const objects = routes.flatMap(([parents, rules, namespace = 'market'], index) =>
    yaml(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r${index}, namespace: ${namespace}}
spec:
  parentRefs: [${parents}]
  rules:
${rules.trim().replace(/^/gm, '  ')}
`),
  );
  const mesh = buildMesh([...WORLD, ...objects], DEFAULT_MESH_SETTINGS);
  for (const { parents } of mesh.statuses) {
    for (const { conditions } of parents) {
      for (const { type, status, message } of conditions) assert.equal(status, 'True', `${type}: ${message}`);
    }
  }
  return mesh;
}

interface Call {
  readonly to?: keyof typeof IP;
  readonly port?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly from?: string;
}

const random = seededRandom(3);

function decisionOf(
  mesh: Mesh,
  target: string,
  { to = 'front', port = 80, headers = {}, from = 'market' }: Call = {},
) {
  const view = request(target, { host: port === 80 ? to : `${to}:${port}`, ...headers });
  return decide(mesh.snapshotFor(from), `${IP[to]}:${port}`, view, idleState(), 0, random);
}

/** `blue` and what of it was asked about, `404`, or `302 http://…`. */
function answerTo(mesh: Mesh, target: string, call: Call = {}): string {
  const decision = decisionOf(mesh, target, call);
  if (decision.kind === 'answer') return String(decision.status);
  if (decision.kind === 'redirect') return `${decision.status} ${decision.location}`;
  const { rule, match, cluster } = decision;
  const rewrite = rule?.rewrite?.path;
  const path = rewrite && match && rewrittenPath(target.split(' ')[1] ?? '', rewrite, match);
  return path === undefined ? cluster.service : `${cluster.service} ${path}`;
}

const SETS = (value: string) =>
  `filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-rule, value: ${value}}]}}]`;
/** What the response header of `SETS` is, at that call. */
const set = (mesh: Mesh, call: Call) => decisionOf(mesh, 'GET /', call).rule?.responseHeaders?.set[0]?.[1];

test('without routes a Service is reached as it is (MeshBasic)', () => {
  assert.equal(answerTo(meshOf(), 'GET /'), 'front');
});

test('a route of one backend takes the whole Service (MeshHTTPRouteSimpleSameNamespace)', () => {
  assert.equal(answerTo(meshOf([TO_FRONT, '- backendRefs: [{name: blue, port: 8080}]']), 'GET /'), 'blue');
});

test('paths and headers tell backends apart (MeshHTTPRouteMatching, MeshTrafficSplit)', () => {
  const mesh = meshOf([
    TO_FRONT,
    `
- matches: [{path: {type: PathPrefix, value: /}}, {headers: [{name: color, value: blue}]}]
  backendRefs: [{name: blue, port: 8080}]
- matches: [{path: {type: PathPrefix, value: /g}}, {headers: [{name: color, value: green}]}]
  backendRefs: [{name: green, port: 8080}]
- matches: [{path: {type: Exact, value: /exactly}}]
  backendRefs: [{name: green, port: 80}]`,
  ]);
  const wanted = {
    ...{ 'GET /': 'blue', 'GET /x': 'blue', 'GET /g': 'green', 'GET /g/': 'green', 'GET /g/x': 'green' },
    ...{ 'GET /gx': 'blue', 'GET /x/g': 'blue', 'GET /exactly': 'green', 'GET /exactly/not': 'blue' },
  };
  for (const [target, backend] of Object.entries(wanted))
    assert.equal(answerTo(mesh, target), backend, target);
  assert.equal(answerTo(mesh, 'GET /', { headers: { color: 'green' } }), 'green');
  assert.equal(answerTo(mesh, 'GET /', { headers: { color: 'blue' } }), 'blue');
});

test('query parameters do, and what matches nothing is a 404 (MeshHTTPRouteQueryParamMatching)', () => {
  const mesh = meshOf([
    TO_FRONT,
    `
- matches: [{queryParams: [{name: fruit, value: plum}]}]
  backendRefs: [{name: blue, port: 8080}]
- matches: [{queryParams: [{name: fruit, value: lime}]}]
  backendRefs: [{name: green, port: 8080}]
- matches: [{headers: [{name: rank, value: one}], queryParams: [{name: fruit, value: plum}]}]
  backendRefs: [{name: green, port: 8080}]
- matches: [{path: {value: /p}, headers: [{name: rank, value: two}], queryParams: [{name: fruit, value: kiwi}]}]
  backendRefs: [{name: blue, port: 8080}]
- matches: [{path: {value: /deep}}]
  backendRefs: [{name: blue, port: 8080}]
- matches: [{queryParams: [{name: fruit, value: fig}]}]
  backendRefs: [{name: green, port: 8080}]`,
  ]);
  const wanted = {
    ...{ 'GET /?fruit=plum': 'blue', 'GET /?fruit=lime&x=y': 'green', 'GET /a?x=y&fruit=plum': 'blue' },
    ...{ 'GET /': '404', 'GET /?fruit=plumlime': '404', 'GET /?x=y': '404', 'GET /p?fruit=kiwi': '404' },
    'GET /deep?fruit=fig': 'blue',
  };
  for (const [target, backend] of Object.entries(wanted))
    assert.equal(answerTo(mesh, target), backend, target);
  assert.equal(answerTo(mesh, 'GET /?fruit=plum', { headers: { rank: 'one' } }), 'green');
  assert.equal(answerTo(mesh, 'GET /p?fruit=kiwi', { headers: { rank: 'two' } }), 'blue');
});

test('a rule with a name is matched like any other (MeshHTTPRouteNamedRule)', () => {
  const mesh = meshOf([
    TO_FRONT,
    `
- {name: by-name, matches: [{path: {value: /a}}], backendRefs: [{name: blue, port: 8080}]}
- {matches: [{path: {value: /b}}], backendRefs: [{name: green, port: 8080}]}`,
  ]);
  assert.equal(decisionOf(mesh, 'GET /a').rule?.id, 'HTTPRoute/market/r0#by-name');
  assert.equal(answerTo(mesh, 'GET /a'), 'blue');
  assert.equal(answerTo(mesh, 'GET /b'), 'green');
});

test('weights are kept (MeshHTTPRouteWeight)', () => {
  const rules =
    '- backendRefs: [{name: blue, port: 8080, weight: 70}, {name: green, port: 8080, weight: 30}]';
  const mesh = meshOf([TO_FRONT, rules]);
  const draws = 5_000;
  let blue = 0;
  for (let draw = 0; draw < draws; draw++) if (answerTo(mesh, 'GET /') === 'blue') blue++;
  assert.ok(Math.abs(blue / draws - 0.7) < 0.03, `${blue} of ${draws}`);
});

test('redirects change what they name and nothing else (MeshHTTPRoute…Redirect…, 303, 307, 308)', () => {
  const rules: readonly (readonly [string, string, string])[] = [
    ['GET /host', 'hostname: x.example', '302 http://x.example/host'],
    ['GET /host-301', 'hostname: x.example, statusCode: 301', '301 http://x.example/host-301'],
    ['GET /303', 'statusCode: 303', '303 http://front/303'],
    ['GET /307', 'statusCode: 307', '307 http://front/307'],
    ['GET /308', 'statusCode: 308', '308 http://front/308'],
    ['GET /port', 'port: 8083', '302 http://front:8083/port'],
    ['GET /port-host', 'port: 8083, hostname: x.example', '302 http://x.example:8083/port-host'],
    ['GET /scheme', 'scheme: https', '302 https://front/scheme'],
    ['GET /scheme-host', 'scheme: https, hostname: x.example', '302 https://x.example/scheme-host'],
    [
      'GET /prefix/lemon',
      'path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 301',
      '301 http://front/new/lemon',
    ],
    [
      'GET /full/lemon?a=b',
      'path: {type: ReplaceFullPath, replaceFullPath: /new}, hostname: x.example',
      '302 http://x.example/new?a=b',
    ],
  ];
  const mesh = meshOf([
    TO_FRONT,
    rules
      .map(([target, text]) => {
        const prefix = `/${target.split('/')[1]?.split('?')[0]}`;
        return `- {matches: [{path: {value: ${prefix}}}], filters: [{type: RequestRedirect, requestRedirect: {${text}}}]}`;
      })
      .join('\n'),
  ]);
  for (const [target, , wanted] of rules) assert.equal(answerTo(mesh, target), wanted, target);
  assert.deepEqual(mesh.problems, []);
});

test('paths are rewritten on their way to the backend (MeshHTTPRouteRewritePath)', () => {
  const rule = (prefix: string, type: string, to: string) =>
    `- matches: [{path: {value: ${prefix}}}]
  filters:
  - {type: URLRewrite, urlRewrite: {path: {type: Replace${type}, replace${type}: ${to}}}}
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: new}]}}
  backendRefs: [{name: blue, port: 80}]`;
  const rules = [
    rule('/prefix/one', 'PrefixMatch', '/one'),
    rule('/strip', 'PrefixMatch', '/'),
    rule('/full/one', 'FullPath', '/one'),
  ];
  const mesh = meshOf([TO_FRONT, rules.join('\n')]);
  assert.equal(answerTo(mesh, 'GET /prefix/one/two'), 'blue /one/two');
  assert.equal(answerTo(mesh, 'GET /strip/three'), 'blue /three');
  assert.equal(answerTo(mesh, 'GET /strip'), 'blue /');
  assert.equal(answerTo(mesh, 'GET /full/one/two'), 'blue /one');
  assert.deepEqual(decisionOf(mesh, 'GET /strip').rule?.requestHeaders?.set, [['x-set', 'new']]);
});

test('a rule edits requests, and so does one backend of it (MeshHTTPRoute(Backend)RequestHeaderModifier)', () => {
  const filters =
    'filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: b}], add: [{name: C, value: d}], remove: [E]}}]';
  const wanted = { set: [['A', 'b']], add: [['C', 'd']], remove: ['e'] };
  const ofRule = decisionOf(
    meshOf([TO_FRONT, `- {${filters}, backendRefs: [{name: blue, port: 8080}]}`]),
    'GET /',
  );
  assert.deepEqual(ofRule.rule?.requestHeaders, wanted);
  const backends = `- backendRefs: [{name: blue, port: 8080, ${filters}}]`;
  const ofBackend = decisionOf(meshOf([TO_FRONT, backends]), 'GET /');
  assert.deepEqual(ofBackend.kind === 'forward' && ofBackend.backend?.requestHeaders, wanted);
});

test('a parent with a port means that port, one without means all that speak HTTP (MeshPorts)', () => {
  const mesh = meshOf(
    [
      '{group: "", kind: Service, name: blue, port: 80}',
      `- {${SETS('one')}, backendRefs: [{name: blue, port: 80}]}`,
    ],
    ['{group: "", kind: Service, name: green}', `- {${SETS('all')}, backendRefs: [{name: green, port: 80}]}`],
  );
  assert.equal(set(mesh, { to: 'blue', port: 80 }), 'one');
  assert.equal(set(mesh, { to: 'blue', port: 8080 }), undefined);
  assert.equal(answerTo(mesh, 'GET /', { to: 'blue', port: 8080 }), 'blue');
  assert.equal(set(mesh, { to: 'green', port: 80 }), 'all');
  assert.equal(set(mesh, { to: 'green', port: 8080 }), 'all');
  const told = mesh.statuses.flatMap(({ parents }) => parents.flatMap(({ conditions }) => conditions));
  assert.ok(
    told.some(({ message }) => message.includes('not to port 443 (tls), 9090 (tcp), 7070 (grpc)')),
    JSON.stringify(told),
  );
});

test('several parents of one route each get its rules', () => {
  const parents = ['front', 'green'].map((name) => `{group: "", kind: Service, name: ${name}, port: 80}`);
  const mesh = meshOf([parents.join(', '), '- backendRefs: [{name: blue, port: 80}]']);
  assert.equal(answerTo(mesh, 'GET /'), 'blue');
  assert.equal(answerTo(mesh, 'GET /', { to: 'green' }), 'blue');
  assert.equal(answerTo(mesh, 'GET /', { to: 'green', port: 8080 }), 'green');
});

test('a route means calls of the Service, and not of its pods by their own addresses (MeshFrontend)', () => {
  const to = '{group: "", kind: Service, name: green}';
  const mesh = meshOf([to, `- {${SETS('set')}, backendRefs: [{name: green, port: 80}]}`]);
  assert.equal(set(mesh, { to: 'green' }), 'set');
  const key = `${POD_IP.green}:8080`;
  const decision = decide(mesh.snapshotFor('market'), key, request('GET /'), idleState(), 0, random);
  assert.equal(decision.kind === 'forward' && decision.endpoint.key, key);
  assert.equal(decision.rule, undefined);
});

test('a Service is known by its address, whatever Host says (MeshFrontendHostname)', () => {
  const to = '{group: "", kind: Service, name: green}';
  const mesh = meshOf([to, `- {${SETS('set')}, backendRefs: [{name: green, port: 80}]}`]);
  const misnamed = { to: 'green', headers: { host: 'blue' } } as const;
  assert.equal(answerTo(mesh, 'GET /', misnamed), 'green');
  assert.equal(set(mesh, misnamed), 'set');
  const other = { to: 'blue', headers: { host: 'green' } } as const;
  assert.equal(answerTo(mesh, 'GET /', other), 'blue');
  assert.equal(set(mesh, other), undefined);
});

const TO_BLUE = '{group: "", kind: Service, name: blue, namespace: market}';
const consumer = (namespace: string): readonly [string, string, string] => [
  TO_BLUE,
  `- {${SETS(namespace)}, backendRefs: [{name: blue, namespace: market, port: 80}]}`,
  namespace,
];

test("a consumer's route means its own namespace only, and needs no grant (MeshConsumerRoute)", () => {
  const mesh = meshOf(consumer('office'));
  assert.equal(set(mesh, { to: 'blue', from: 'office' }), 'office');
  assert.equal(set(mesh, { to: 'blue', from: 'market' }), undefined);
  assert.equal(answerTo(mesh, 'GET /', { to: 'blue', from: 'market' }), 'blue');
});

test("a consumer's route stands in the place of the producer's, for its clients alone", () => {
  const mesh = meshOf(consumer('office'), consumer('lab'), consumer('market'));
  for (const from of ['office', 'lab', 'market']) assert.equal(set(mesh, { to: 'blue', from }), from);
  assert.equal(set(mesh, { to: 'blue', from: 'elsewhere' }), 'market');
});

test('a GRPCRoute is refused with a reason (MeshGRPCRouteWeight)', () => {
  const grpc = object(
    'gateway.networking.k8s.io/v1',
    'GRPCRoute',
    'g',
    { parentRefs: [{ group: '', kind: 'Service', name: 'front', port: 7070 }] },
    MARKET,
  );
  const [status] = buildMesh([...WORLD, grpc], DEFAULT_MESH_SETTINGS).statuses;
  const [condition] = status?.parents[0]?.conditions ?? [];
  assert.equal(condition?.status, 'False');
  assert.match(condition?.message ?? '', /GRPCRoute is not supported yet/);
});
