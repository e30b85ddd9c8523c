import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { after, afterEach, before, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { Secret } from '../../common/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { silentLogger } from '../../common/log.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import {
  type ChangeableAuthority,
  changeableAuthority,
  createAuthority,
  makeRoot,
  type RootMaterial,
} from '../../control-plane/ca/authority.ts';
import { Pace } from '../../control-plane/ca/pace.ts';
import { type ServerIdentity, serverIdentity } from '../../control-plane/ca/server-credentials.ts';
import { caService } from '../../control-plane/ca/service.ts';
import { noTokens } from '../../control-plane/ca/token.ts';
import { type GrpcServer, startGrpc } from '../../control-plane/grpc.ts';
import { type Pipeline, startPipeline } from '../../control-plane/pipeline.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { leakCheck } from '../support/leak-check.ts';
import { pod, sourced } from '../support/small-mesh.ts';
import { eventually } from '../support/wait.ts';
import { AdsClient, nodeIdOf } from './control-plane/ads-client.ts';
import { podObject } from './mesh/manifests.ts';

leakCheck();

const HOUR_MS = 3_600_000;
const WEB = pod('shop', 'web', '10.244.0.1');
const OLD = makeRoot('cluster.local', 24 * HOUR_MS, systemClock);
const NEW = makeRoot('cluster.local', 24 * HOUR_MS, systemClock);

let authority: ChangeableAuthority;
let identity: ServerIdentity;
let pipeline: Pipeline;
let grpc: GrpcServer;
let bundleWaiting: readonly string[] = [];
const clients: AdsClient[] = [];

before(async () => {
  authority = changeableAuthority(OLD, [], systemClock);
  const state = { objects: [sourced(podObject(WEB))], problems: [] };
  const settings = { settings: DEFAULT_MESH_SETTINGS, problems: [] };
  pipeline = startPipeline({
    ...{ clock: systemClock, log: silentLogger, trustBundlePem: () => authority.trustBundlePem() },
    objects: { current: () => state, close: () => undefined },
    settings: { place: 'test', current: () => settings, close: () => undefined },
    onBuilt: () => undefined,
    programmed: (own) => {
      bundleWaiting = own.bundleWaiting();
      return own;
    },
  });
  const ttlMs = () => HOUR_MS;
  const trustDomain = 'cluster.local';
  identity = serverIdentity({ authority, trustDomain, ttlMs, clock: systemClock, log: silentLogger });
  authority.onChange(() => pipeline.changed());
  authority.onChange(() => identity.renew());
  grpc = await startGrpc({
    ...{ listen: '127.0.0.1', port: 0, credentials: identity.credentials, xds: pipeline.xds.service },
    ca: caService({
      ...{ authority, tokens: noTokens, pace: new Pace(systemClock), log: silentLogger },
      ...{ trustDomain: () => trustDomain, leafTtlMs: ttlMs, count: () => undefined },
    }),
  });
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
after(() => {
  grpc?.close();
  identity?.close();
  pipeline?.close();
});

/** Web's sidecar, with a certificate of `issuer`, which trusts `roots`. */
function connect(issuer: RootMaterial, ...roots: readonly RootMaterial[]): AdsClient {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const leaf = createAuthority(issuer, systemClock).issue({
    ...{ publicKey: createPublicKey(privateKey), ttlMs: HOUR_MS },
    uri: 'spiffe://cluster.local/ns/shop/sa/web',
  });
  const privateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const client = new AdsClient({
    port: grpc.port,
    rootsPem: roots.map(({ certificatePem }) => certificatePem).join(''),
    own: { certificateChainPem: leaf.certificatePem, privateKeyPem },
  });
  clients.push(client);
  client.hello(nodeIdOf(WEB), TYPE.secret, RESOURCE.trustBundle);
  return client;
}

/** How many roots the newest bundle of a stream has, once there were so many answers. */
async function rootsTold(client: AdsClient, answers: number): Promise<number> {
  const last = (await client.received(answers)).at(-1);
  const bytes = last?.resources[0]?.resource?.value;
  assert.ok(bytes !== undefined);
  const { type } = Secret.decode(bytes);
  assert.equal(type?.$case, 'validationContext');
  const specifier = type.value.trustedCa?.specifier;
  assert.equal(specifier?.$case, 'inlineString');
  return specifier.value.split('-----BEGIN').length - 1;
}

function acknowledge(client: AdsClient): void {
  client.request({ typeUrl: TYPE.secret, responseNonce: client.responses.at(-1)?.nonce ?? '' });
}

const waits = (pods: readonly string[]) =>
  eventually(() => JSON.stringify(bundleWaiting) === JSON.stringify(pods), {
    ...{ deadlineMs: 5_000, what: `the bundle waits for [${pods.join(', ')}]` },
  });

test('a running stream is told of the new root, and counts as behind until it has acknowledged it', async () => {
  const client = connect(OLD, OLD);
  assert.equal(await rootsTold(client, 1), 1);
  acknowledge(client);
  await waits([]);
  authority.change(OLD, [NEW.certificatePem]);
  assert.equal(await rootsTold(client, 2), 2);
  await waits(['shop/web']);
  acknowledge(client);
  await waits([]);
});

test('once the new root signs, both generations of certificates and of trust meet', async () => {
  authority.change(NEW, [OLD.certificatePem]);
  assert.equal(await rootsTold(connect(OLD, OLD, NEW), 1), 2);
  assert.equal(await rootsTold(connect(NEW, OLD, NEW), 1), 2);
  assert.equal(await rootsTold(connect(NEW, NEW), 1), 2);
  const behind = connect(OLD, OLD);
  await behind.ended();
  assert.equal(behind.responses.length, 0, 'whoever trusts the old root alone refuses the control plane');
});

test('once the old root is gone nobody comes in by it', async () => {
  authority.change(NEW, []);
  assert.equal(await rootsTold(connect(NEW, NEW), 1), 1);
  const late = connect(OLD, OLD, NEW);
  assert.match((await late.ended()).details, /certificate/);
  assert.equal(late.responses.length, 0);
});
