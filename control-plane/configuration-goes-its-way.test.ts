import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { PeerCertificate } from 'node:tls';
import {
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../common/gen/envoy/service/discovery/v3/discovery.ts';
import { silentLogger } from '../common/log.ts';
import { RESOURCE, shortType, TYPE } from '../common/wire/types.ts';
import { watchSettings } from '../sources/files/settings.ts';
import { watchFiles } from '../sources/files/watch.ts';
import type { ObjectSource, SettingsSource } from '../sources/source.ts';
import { leakCheck } from '../test/support/leak-check.ts';
import { CATALOG_KEY, route, SHOP } from '../test/support/small-mesh.ts';
import { settle, VirtualClock } from '../test/support/virtual-clock.ts';
import { FakeCall } from '../test/support/xds-calls.ts';
import { type Pipeline, startPipeline } from './pipeline.ts';

leakCheck();

type Call = FakeCall<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

const list = (items: readonly object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
const to = (backend: string) =>
  list([
    route({
      ...{ namespace: 'shop', name: 'r', parent: 'shop/catalog' },
      rules: [{ backendRefs: [{ name: backend, port: 80 }] }],
    }),
  ]);

let folder: string;
let clock: VirtualClock;
let objects: ObjectSource;
let settings: SettingsSource;
let pipeline: Pipeline;
let builds: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-pipeline-'));
  mkdirSync(join(folder, 'manifests'));
  clock = new VirtualClock();
  builds = 0;
  write('shop.json', list(SHOP));
  write('route.json', to('v1'));
  const followed = { clock, log: silentLogger, onChange: () => pipeline.changed() };
  settings = watchSettings({ file: join(folder, 'mesh.yaml'), ...followed });
  objects = await watchFiles({ directories: [join(folder, 'manifests')], ...followed });
  pipeline = startPipeline({
    ...{ objects, settings, clock, log: silentLogger },
    trustBundlePem: () => 'PEM',
    onBuilt: () => {
      builds++;
    },
  });
});

afterEach(() => {
  pipeline.close();
  objects.close();
  settings.close();
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, text: string): void {
  writeFileSync(join(folder, 'manifests', name), text);
}

/** Long enough for an edit to be seen and told everywhere. */
const pass = () => clock.advance(3_000);

const backends = () =>
  pipeline.mesh().destinationsFor('shop').get(CATALOG_KEY)?.entries[0]?.rule.backends[0]?.cluster;

function conditions(): Record<string, { status: string; message: string; observedGeneration: number }> {
  const object = pipeline.objects().find((one) => one.object.kind === 'HTTPRoute')?.object;
  assert.ok(object !== undefined);
  const status = JSON.parse(JSON.stringify(pipeline.statusOf(object)));
  const entries = status.parents[0].conditions.map((one: { type: string }) => [one.type, one]);
  return Object.fromEntries(entries);
}

/** The sidecar of pod `shop/web`. */
async function connect(): Promise<Call> {
  const valid_to = new Date(clock.wallMs() + 3_600_000).toUTCString();
  const subjectaltname = 'URI:spiffe://cluster.local/ns/shop/sa/web';
  const call: Call = new FakeCall({ subjectaltname, valid_to } as PeerCertificate);
  pipeline.xds.service.deltaAggregatedResources(call.asServerStream());
  subscribe(call, TYPE.route, CATALOG_KEY);
  await settle();
  return call;
}

function subscribe(call: Call, typeUrl: string, ...resourceNamesSubscribe: string[]): void {
  const node = { id: 'sidecar~10.244.0.1~web.shop~shop.svc.cluster.local' };
  call.request(DeltaDiscoveryRequest.fromPartial({ node, typeUrl, resourceNamesSubscribe }));
}

/** Answers the newest response. */
function answer(call: Call, refusal?: string): void {
  const last = call.sent.at(-1);
  call.request(
    DeltaDiscoveryRequest.fromPartial({
      ...{ typeUrl: last?.typeUrl ?? '', responseNonce: last?.nonce ?? '' },
      ...(refusal === undefined ? {} : { errorDetail: { code: 3, message: refusal } }),
    }),
  );
}

test('what stands in the files when it starts is in force at once', () => {
  assert.equal(backends(), 'outbound|80||v1.shop.svc.cluster.local');
  assert.deepEqual(pipeline.problems(), []);
  assert.equal(conditions().Accepted?.status, 'True');
});

test('an edit reaches the mesh, the streams and the statuses', async () => {
  const call = await connect();
  answer(call);
  await pass();
  assert.deepEqual([conditions().Programmed?.status, builds], ['True', 0]);
  write('route.json', to('v2'));
  await pass();
  assert.equal(backends(), 'outbound|80||v2.shop.svc.cluster.local');
  assert.deepEqual(
    call.sent.map(({ typeUrl }) => shortType(typeUrl)),
    ['RouteConfiguration', 'RouteConfiguration'],
  );
  assert.deepEqual([conditions().Programmed?.status, builds], ['Unknown', 1]);
  answer(call);
  await pass();
  const { Programmed } = conditions();
  assert.equal(Programmed?.status, 'True');
  assert.equal(Programmed?.message, 'acknowledged by 1 proxy');
  assert.equal(Programmed?.observedGeneration, 2);
});

test('a broken edit leaves the last good state in force, is reported, and reaches no proxy', async () => {
  const call = await connect();
  answer(call);
  write('route.json', to('v2').slice(0, -40));
  await pass();
  assert.equal(backends(), 'outbound|80||v1.shop.svc.cluster.local');
  const [problem] = pipeline.problems();
  assert.equal(problem?.source, join(folder, 'manifests', 'route.json'));
  assert.ok((problem?.line ?? 0) >= 1);
  assert.equal(call.sent.length, 1);
  write('route.json', to('v2'));
  await pass();
  assert.equal(backends(), 'outbound|80||v2.shop.svc.cluster.local');
  assert.deepEqual(pipeline.problems(), []);
});

test('what a proxy refuses is told in its words, and the next version mends it', async () => {
  const call = await connect();
  answer(call, 'RouteConfiguration "x": field: no');
  await pass();
  assert.equal(conditions().Programmed?.status, 'False');
  assert.match(conditions().Programmed?.message ?? '', /shop\/web: RouteConfiguration "x": field: no/);
  write('route.json', to('v2'));
  await pass();
  answer(call);
  await pass();
  assert.equal(conditions().Programmed?.status, 'True');
});

test('an edit of the settings reaches those whom it concerns', async () => {
  const call = await connect();
  answer(call);
  subscribe(call, TYPE.listener, RESOURCE.inbound);
  await settle();
  answer(call);
  writeFileSync(join(folder, 'mesh.yaml'), 'mtls: {mode: STRICT}\n');
  await pass();
  assert.equal(pipeline.settings().mtlsMode, 'STRICT');
  assert.equal(pipeline.mesh().inboundFor('shop/web')?.defaultMode, 'STRICT');
  assert.deepEqual(
    call.sent.map(({ typeUrl }) => shortType(typeUrl)),
    ['RouteConfiguration', 'Listener', 'Listener'],
  );
});

test('the trust domain stays, since certificates name it, and that is said', async () => {
  writeFileSync(join(folder, 'mesh.yaml'), 'trustDomain: elsewhere\n');
  await pass();
  assert.equal(pipeline.settings().trustDomain, 'cluster.local');
  const [problem] = pipeline.problems();
  assert.deepEqual([problem?.severity, problem?.field], ['warning', 'trustDomain']);
  assert.match(problem?.message ?? '', /stays cluster.local until the mesh is started again/);
});

test('an edit that changes nothing reaches nobody', async () => {
  const call = await connect();
  answer(call);
  write('route.json', ` ${to('v1')}\n`);
  await pass();
  assert.equal(call.sent.length, 1);
  assert.equal(conditions().Programmed?.observedGeneration, 1);
});

test('whoever listens hears of meshes, answers and proxies, until they no longer listen', async () => {
  let heard = 0;
  const stop = pipeline.onChange(() => {
    heard++;
  });
  await connect();
  await pass();
  const connected = heard;
  assert.ok(connected > 0);
  write('route.json', to('v2'));
  await pass();
  assert.ok(heard > connected);
  stop();
  const last = heard;
  write('route.json', to('v1'));
  await pass();
  assert.equal(heard, last);
});

test('once closed nothing runs any more, and streams are ended', async () => {
  const call = await connect();
  let heard = 0;
  pipeline.onChange(() => {
    heard++;
  });
  pipeline.close();
  write('route.json', to('v2'));
  await clock.advance(60_000);
  assert.ok(call.ended);
  assert.deepEqual([heard, builds, clock.pendingTimers()], [0, 0, 0]);
});
