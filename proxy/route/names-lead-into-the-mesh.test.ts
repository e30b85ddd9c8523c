import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  harness.fakes.resolver.resolve = async () => '10.96.0.1';
});

afterEach(() => harness.close());

const REQUEST = 'GET http://shop.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n';

test('a foreign name that resolves to an address of the mesh is a request of the mesh', async () => {
  harness.service({ host: '10.96.0.1' });
  const [endpoint, address] = [harness.app(), harness.app('10.96.0.1', 80)];
  const client = harness.dial();
  client.say(REQUEST);
  await harness.run();
  assert.match(endpoint[0]?.heard ?? '', /^GET \/ HTTP\/1\.1\r\n/);
  assert.equal(address.length, 0, 'nothing goes to the address itself, past the mesh');
});

test('while it is not known what the address is, the request waits and is refused', async () => {
  const address = harness.app('10.96.0.1', 80);
  harness.fakes.config.found = (host) =>
    host === 'shop.example' ? { kind: 'external' } : Promise.resolve({ kind: 'unavailable' });
  const client = harness.dial();
  client.say(REQUEST);
  await harness.run();
  assert.match(client.heard, /^HTTP\/1\.1 503 [\s\S]*x-heddle-reason: config-unavailable\r\n/);
  assert.equal(address.length, 0);
});

test('an address that is outside as well is gone to', async () => {
  const address = harness.app('10.96.0.1', 80);
  const client = harness.dial();
  client.say(REQUEST);
  await harness.run();
  assert.match(address[0]?.heard ?? '', /^GET \/ HTTP\/1\.1\r\n/);
});
