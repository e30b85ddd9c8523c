import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { parse } from 'yaml';
import type { JsonValue } from '../../common/json.ts';
import { destinationKey } from '../../common/names.ts';
import { afterAttempt, decide, decideTcp } from '../../model/decide.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';
import { build, endpoint, object, route, service, slice } from '../../test/support/model-objects.ts';
import type { OutboundMode } from '../listener/outbound.ts';
import type { ConfigStage } from '../stage.ts';

/** What the mesh conformance tests of the Gateway API ask of addresses: real decisions over Services of a real model. */

const PORTS = [
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'http-alt', port: 8080, targetPort: 8080 },
];
const CLIENT = '10.244.1.9';
const ECHO = '10.96.1.0';
const V1 = { ip: '10.96.1.1', pod: '10.244.1.1' };
const V2 = { ip: '10.96.1.2', pod: '10.244.1.2' };
const MESHED = { ip: '10.96.1.3', pod: '10.244.1.3' };

const backends = (name: string, at: { ip: string; pod: string }): SourcedObject[] => [
  service(name, at.ip, PORTS),
  slice(
    name,
    [endpoint(`${name}-0`, at.pod)],
    PORTS.map((port) => ({ name: port.name, port: 8080 })),
  ),
];

const plainPod = (name: string, ip: string, annotations = {}): SourcedObject =>
  object(
    'echo-v1',
    'Pod',
    name,
    { containers: [{ name, ports: [{ containerPort: 8080 }] }] },
    { status: { podIP: ip }, annotations },
  );

const OBJECTS = [
  service('echo', ECHO, PORTS),
  ...backends('echo-v1', V1),
  ...backends('echo-v2', V2),
  ...backends('meshed', MESHED),
  plainPod('echo-v1-0', V1.pod),
  plainPod('echo-v2-0', V2.pod),
  plainPod('meshed-0', MESHED.pod, { 'heddle.dev/injected': 'default' }),
];

const sets = (service: string, value: string, { port = '', namespace = '' } = {}) => `
parentRefs: [{group: '', kind: Service, name: ${service}${port}${namespace}}]
rules:
- filters:
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Header-Set, value: ${value}}]}}
  backendRefs: [{name: ${service}, port: 80${namespace}}]`;

let harness: EngineHarness;
let captured: Set<string>;
let pods: Map<string, ReturnType<EngineHarness['capturedApp']>>;

async function mesh(mode: OutboundMode, routes: readonly SourcedObject[], client = 'shop'): Promise<void> {
  const built = build(...OBJECTS, ...routes);
  const config: ConfigStage = {
    snapshot: () => built.snapshotFor(client),
    inbound: () => undefined,
    find: (host, port) => {
      const name = host.includes('.') ? host : `${host}.shop.svc.cluster.local`;
      const found = built.snapshotFor(client).destination(destinationKey(name, port));
      return found === undefined ? { kind: 'external' } : { kind: 'mesh', key: found.key };
    },
  };
  harness = new EngineHarness({}, [CLIENT], { config, decisions: { decide, decideTcp, afterAttempt } });
  await harness.outbound(mode);
  pods = new Map();
  captured = new Set();
  for (const [name, { pod }] of Object.entries({ 'echo-v1': V1, 'echo-v2': V2, meshed: MESHED })) {
    pods.set(name, harness.capturedApp(pod, 8080));
  }
}

const routeOf = (text: string, name: string, more = {}) => route(parse(text) as JsonValue, name, more);

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

/** Where a captured request to a Service's address arrives, and the header that a rule set on it. */
function arrives(address: string, port: number, host: string, target = '/'): Promise<string> {
  if (!captured.has(`${address}:${port}`)) harness.capture(address, port);
  captured.add(`${address}:${port}`);
  return says(harness.dial(port, address), host, target);
}

async function says(client: Talker, host: string, target = '/'): Promise<string> {
  client.say(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await harness.run();
  const arrived: string[] = [];
  for (const [name, { apps }] of pods) {
    for (const app of apps) {
      if (app.heard === '') continue;
      arrived.push(`${name} ${/^X-Header-Set: (\S+)/m.exec(app.take())?.[1] ?? '-'}`);
      app.stream.destroy();
    }
  }
  const answer =
    /x-heddle-reason: (\S+)/.exec(client.heard)?.[1] ?? /^location: (\S+)/m.exec(client.heard)?.[1];
  client.stream.destroy();
  await harness.run();
  return arrived.length === 0 ? (answer ?? 'nowhere') : arrived.join(', ');
}

test("a Service's cluster address decides, whatever Host or the target says (MeshFrontend, MeshFrontendHostname)", async () => {
  await mesh('transparent', [routeOf(sets('echo-v2', 'set'), 'echo-v2')]);
  assert.equal(await arrives(V2.ip, 80, 'echo-v2'), 'echo-v2 set');
  assert.equal(await arrives(V2.ip, 80, 'echo-v1'), 'echo-v2 set');
  assert.equal(await arrives(V1.ip, 80, 'echo-v2'), 'echo-v1 -');
  assert.equal(await arrives(V1.ip, 80, 'echo-v2', 'http://echo-v2/'), 'echo-v1 -');
});

test("a pod's own address has no routes: the request goes to that pod (MeshFrontend)", async () => {
  await mesh('transparent', [routeOf(sets('echo-v2', 'set'), 'echo-v2')]);
  const direct = (name: string) => pods.get(name)?.dial(CLIENT) ?? assert.fail(`no pod ${name}`);
  assert.equal(await says(direct('echo-v2'), `${V2.pod}:8080`), 'echo-v2 -');
  assert.equal(await says(direct('echo-v2'), 'echo-v2'), 'echo-v2 -');
  // A pod that speaks mesh mTLS is never called in plaintext, and this sidecar has no certificate.
  assert.equal(await says(direct('meshed'), 'echo-v2'), 'config-unavailable');
});

test('a route is attached to the ports it names, and without one to all (MeshPorts)', async () => {
  await mesh('transparent', [
    routeOf(sets('echo-v1', 'one', { port: ', port: 80' }), 'echo-v1'),
    routeOf(sets('echo-v2', 'two'), 'echo-v2'),
  ]);
  assert.equal(await arrives(V1.ip, 80, 'echo-v1'), 'echo-v1 one');
  assert.equal(await arrives(V1.ip, 8080, 'echo-v1:8080'), 'echo-v1 -');
  assert.equal(await arrives(V2.ip, 80, 'echo-v2'), 'echo-v2 two');
  assert.equal(await arrives(V2.ip, 8080, 'echo-v2:8080'), 'echo-v2 two');
});

const SPLIT = `
parentRefs: [{group: '', kind: Service, name: echo}]
rules:
- {matches: [{path: {type: Exact, value: /v1}}], backendRefs: [{name: echo-v1, port: 80}]}
- {matches: [{path: {type: Exact, value: /v2}}], backendRefs: [{name: echo-v2, port: 80}]}
- matches: [{path: {value: /old}}]
  filters:
  - type: RequestRedirect
    requestRedirect: {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}`;

test('the rules of one Service lead to others, or answer themselves (MeshTrafficSplit)', async () => {
  await mesh('transparent', [routeOf(SPLIT, 'split')]);
  assert.equal(await arrives(ECHO, 80, 'echo', '/v1'), 'echo-v1 -');
  assert.equal(await arrives(ECHO, 80, 'echo', '/v2'), 'echo-v2 -');
  assert.equal(await arrives(ECHO, 80, 'echo-v1', '/other'), 'no-route');
  assert.equal(await arrives(ECHO, 80, 'echo', '/old/a?b'), 'http://new.example/new/a?b');
});

test('a consumer route holds for clients of its own namespace (MeshConsumerRoute)', async () => {
  const consumer = routeOf(sets('echo-v1', 'set', { namespace: ', namespace: shop' }), 'consumer', {
    namespace: 'consumer',
  });
  await mesh('transparent', [consumer], 'consumer');
  assert.equal(await arrives(V1.ip, 80, 'echo-v1.shop'), 'echo-v1 set');
  await harness.close();
  await mesh('transparent', [consumer]);
  assert.equal(await arrives(V1.ip, 80, 'echo-v1.shop'), 'echo-v1 -');
});

test('where apps name their destinations themselves, names decide', async () => {
  await mesh('http-proxy', [routeOf(sets('echo-v2', 'set'), 'echo-v2')]);
  assert.equal(await says(harness.dial(), 'echo-v2'), 'echo-v2 set');
  assert.equal(await says(harness.dial(), 'echo-v1', 'http://echo-v2/'), 'echo-v2 set');
  assert.equal(await says(harness.dial(), 'echo-v1'), 'echo-v1 -');
});
