import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness } from '../../test/support/engine-harness.ts';

const POD = '10.244.1.5';
const IDENTITY = 'spiffe://cluster.local/ns/default/sa/own';
const SERVICE = '10.96.0.5';

let harness: EngineHarness;

beforeEach(() => {
  harness = new EngineHarness({}, [POD]);
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.stack.stats().active, 0);
});

/** A Service in front of one endpoint that speaks mesh mTLS, dialled as a captured app does. */
async function dialService(endpoint: { address: string; port: number }) {
  await harness.outbound('transparent');
  harness.capture(SERVICE, 80);
  harness.service({ host: SERVICE, endpoints: [{ ...endpoint, identities: [IDENTITY] }] });
  return harness.dial(80, SERVICE);
}

test('a captured pod that its own Service leads to itself is called in plaintext', async () => {
  await harness.inbound({ containerPort: undefined, app: undefined });
  const apps = harness.app(POD, 8_080);
  const client = await dialService({ address: POD, port: 8_080 });
  client.say('GET /a HTTP/1.1\r\nHost: own\r\n\r\n');
  await harness.run();
  assert.match(apps[0]?.heard ?? '', /^GET \/a HTTP\/1\.1\r\n/);
  client.stream.destroy();
  await harness.run();
});

test('every other endpoint is called as it speaks', async () => {
  await harness.inbound({ containerPort: undefined, app: undefined });
  const apps = harness.app('10.244.1.6', 8_080);
  const client = await dialService({ address: '10.244.1.6', port: 8_080 });
  client.say('GET /a HTTP/1.1\r\nHost: other\r\n\r\n');
  await harness.run();
  assert.doesNotMatch(apps[0]?.heard ?? '', /GET/);
  client.stream.destroy();
  await harness.run();
});

test('the ports of the sidecar itself are not taken for the app', async () => {
  await harness.inbound({ containerPort: undefined, app: undefined });
  const admin = harness.app(POD, 15_000);
  const client = await dialService({ address: POD, port: 15_000 });
  client.say('GET /a HTTP/1.1\r\nHost: own\r\n\r\n');
  await harness.run();
  assert.doesNotMatch(admin[0]?.heard ?? '', /GET/);
  client.stream.destroy();
  await harness.run();
});

test("without capture the pod's port is the sidecar's, which takes mTLS", async () => {
  await harness.inbound();
  const sidecar = harness.app(POD, 8_081);
  const client = await dialService({ address: POD, port: 8_081 });
  client.say('GET /a HTTP/1.1\r\nHost: own\r\n\r\n');
  await harness.run();
  assert.doesNotMatch(sidecar[0]?.heard ?? '', /GET/);
  client.stream.destroy();
  await harness.run();
});
