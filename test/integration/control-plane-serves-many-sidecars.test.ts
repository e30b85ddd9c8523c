import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { spiffeId } from '../../common/spiffe.ts';
import { TYPE } from '../../common/wire/types.ts';
import { createAuthority } from '../../control-plane/ca/authority.ts';
import { DEFAULT_XDS_LIMITS } from '../../control-plane/xds/limits.ts';
import { leakCheck } from '../support/leak-check.ts';
import { nowMs, type SidecarSpec, SimulatedSidecar } from '../support/simulated-sidecar.ts';
import { CATALOG_KEY, clusterOf, pod, service } from '../support/small-mesh.ts';
import { eventually } from '../support/wait.ts';
import { nodeIdOf } from './control-plane/ads-client.ts';
import { startMesh, type TestMesh } from './mesh/harness.ts';
import { type PodRecord, podObject } from './mesh/manifests.ts';
import { askPage } from './mesh/pages.ts';

leakCheck();

const SIDECARS = 200;
const TURNS = 10;
const DEADLINE_MS = 60_000;
const HOUR_MS = 3_600_000;
const CATALOG = clusterOf('catalog');
/** Endpoints of the catalog: one version of their list is a few hundred kilobytes. */
const ENDPOINTS = 2_000;
/** All of them are more than may wait for one sidecar. */
const VERSIONS = 24;
const CLIENTS = Array.from({ length: SIDECARS }, (_, index) =>
  pod('shop', `web-${index}`, `10.244.1.${index}`, 'web'),
);

let mesh: TestMesh;
let specs: readonly SidecarSpec[];
const opened: SimulatedSidecar[] = [];

before(async () => {
  mesh = await startMesh();
  applyCatalog([pod('shop', 'catalog', '10.244.2.1')]);
  specs = signed(CLIENTS);
});
afterEach(() => {
  for (const sidecar of opened.splice(0)) sidecar.close();
});
after(() => mesh?.close());

function applyCatalog(pods: readonly PodRecord[]): void {
  const items = [...[...CLIENTS, ...pods].map(podObject), ...service('shop', 'catalog', '10.96.0.1', pods)];
  mesh.apply('shop.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

/** A catalog of many endpoints, the first one at another address each time. */
function applyLargeCatalog(version: number): void {
  applyCatalog(
    Array.from({ length: ENDPOINTS }, (_, index) => {
      const address = index === 0 ? `10.245.255.${version}` : `10.245.${index >> 8}.${index & 255}`;
      return { ...pod('shop', `catalog-${index}`, address, 'catalog'), labels: { app: 'catalog' } };
    }),
  );
}

/** Certificates by the mesh's own root, as its CA would give them, without asking it so many times. */
function signed(pods: readonly PodRecord[]): readonly SidecarSpec[] {
  const [certificatePem, privateKeyPem] = ['root.pem', 'root-key.pem'].map(stateFile);
  const authority = createAuthority(
    { certificatePem: certificatePem ?? '', privateKeyPem: privateKeyPem ?? '' },
    systemClock,
  );
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const uri = spiffeId({ trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' });
  const leaf = authority.issue({ publicKey: createPublicKey(privateKey), uri, ttlMs: HOUR_MS });
  const own = {
    certificateChainPem: leaf.certificatePem,
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  return pods.map((one) => ({ ...own, nodeId: nodeIdOf(one), destinations: [CATALOG_KEY] }));
}

function stateFile(name: string): string {
  return readFileSync(join(mesh.directory, 'state', name), 'utf8');
}

function connect(count: number): readonly SimulatedSidecar[] {
  const rootPem = stateFile('root.pem');
  const controlPlane = `127.0.0.1:${mesh.ports().xds}`;
  const sidecars = specs.slice(0, count).map((spec) => new SimulatedSidecar(spec, { controlPlane, rootPem }));
  for (const sidecar of sidecars) sidecar.connect();
  opened.push(...sidecars);
  return sidecars;
}

async function configured(sidecars: readonly SimulatedSidecar[], sinceMs = 0): Promise<void> {
  const is = ({ connectedAtMs, configuredAtMs }: SimulatedSidecar) =>
    connectedAtMs >= sinceMs && configuredAtMs !== undefined;
  await eventually(() => sidecars.every(is), {
    ...{ deadlineMs: DEADLINE_MS, what: `${sidecars.length} sidecars are configured` },
  });
}

async function proxies(): Promise<number> {
  const page = await askPage(`http://127.0.0.1:${mesh.ports().dashboard}/api/heddle/proxies`);
  return (JSON.parse(page.body) as { readonly items: readonly unknown[] }).items.length;
}

function openFiles(): number {
  return readdirSync(`/proc/${mesh.controlPlane().child.pid}/fd`).length;
}

test('a sidecar that reads nothing holds up nobody, and no more waits for it than the limit', async () => {
  const [slow, ...others] = connect(10);
  assert.ok(slow !== undefined);
  await configured([slow, ...others]);
  slow.hold();
  const before = slow.bytes;
  const newest = () => new Set(others.map((sidecar) => sidecar.version(TYPE.endpoints, CATALOG)));
  const seen = new Set(newest());
  const told = others.map(({ bytes }) => bytes);
  for (let version = 1; version <= VERSIONS; version++) {
    applyLargeCatalog(version);
    await eventually(() => newest().size === 1 && [...newest()].every((one) => !seen.has(one)), {
      ...{ deadlineMs: DEADLINE_MS, what: `the others have version ${version}` },
    });
    for (const one of newest()) seen.add(one);
  }
  const perVersion = ((others[0]?.bytes ?? 0) - (told[0] ?? 0)) / VERSIONS;
  slow.release();
  await eventually(() => newest().has(slow.version(TYPE.endpoints, CATALOG)), {
    ...{ deadlineMs: DEADLINE_MS, what: 'the slow one catches up' },
  });
  // What waited for it, and the one difference to the newest version.
  const most = DEFAULT_XDS_LIMITS.bytesUnansweredMax + 2 * perVersion;
  assert.ok(VERSIONS * perVersion > most, `${VERSIONS} versions of ${perVersion} bytes are no test`);
  assert.ok(slow.bytes - before < most, `${slow.bytes - before} bytes waited, at most ${most} may`);
});

test('a control plane that was killed has all its sidecars back, and refuses none of them', async () => {
  applyCatalog([pod('shop', 'catalog', '10.244.2.1')]);
  const sidecars = connect(SIDECARS);
  await configured(sidecars);
  assert.equal(await proxies(), SIDECARS);
  await mesh.controlPlane().stop('SIGKILL');
  const sinceMs = nowMs();
  await mesh.startControlPlane();
  await configured(sidecars, sinceMs);
  assert.equal(await proxies(), SIDECARS);
  assert.equal(mesh.controlPlane().exited(), false);
});

test('of two hundred sidecars that come and go ten times nothing is left', {
  skip: process.platform !== 'linux',
}, async () => {
  const gone = async () =>
    eventually(async () => (await proxies()) === 0, { deadlineMs: DEADLINE_MS, what: 'all are gone' });
  await gone();
  let baseline = 0;
  for (let turn = 0; turn < TURNS; turn++) {
    const sidecars = connect(SIDECARS);
    await configured(sidecars);
    for (const sidecar of opened.splice(0)) sidecar.close();
    await gone();
    if (turn === 0) baseline = await settledFiles(Number.POSITIVE_INFINITY);
  }
  await settledFiles(baseline);
});

/** Connections of the pages that this test asks for come and go as well. */
const FILES_MORE = 4;

async function settledFiles(most: number): Promise<number> {
  await eventually(() => openFiles() <= Math.min(most + FILES_MORE, SIDECARS), {
    ...{ deadlineMs: DEADLINE_MS, what: `no more than ${most} files are open` },
  });
  return openFiles();
}
