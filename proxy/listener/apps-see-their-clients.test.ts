import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness } from '../../test/support/engine-harness.ts';

const POD = '10.244.1.5';
const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

let harness: EngineHarness;

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.inbound({ containerPort: undefined, app: undefined });
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.stack.stats().active, 0);
});

test('the app is called from the address of the client', async () => {
  const pod = harness.capturedApp(POD, 8_080);
  const client = pod.dial('10.244.2.7');
  client.say(GET);
  await harness.run();
  assert.deepEqual(
    pod.apps.map((app) => app.stream.remoteAddress),
    ['10.244.2.7'],
  );
  pod.apps[0]?.say(OK);
  await harness.run();
  assert.match(client.heard, /^HTTP\/1\.1 200 /);
  client.stream.destroy();
});

test('an idle connection to the app is used again for its own client only', async () => {
  const pod = harness.capturedApp(POD, 8_080);
  const ask = async (from: string) => {
    const client = pod.dial(from);
    client.say(GET);
    await harness.run();
    for (const app of pod.apps) if (app.take() !== '') app.say(OK);
    await harness.run();
    assert.match(client.heard, /ok$/);
    client.stream.destroy();
    await harness.run();
  };
  await ask('10.244.2.7');
  await ask('10.244.2.8');
  await ask('10.244.2.7');
  assert.deepEqual(
    pod.apps.map((app) => app.stream.remoteAddress),
    ['10.244.2.7', '10.244.2.8'],
  );
});

test('opaque bytes reach the app from the address of the client as well', async () => {
  const pod = harness.capturedApp(POD, 5_432);
  const client = pod.dial('fd10:244::7');
  client.say('\u0000\u0000\u0000\u0008\u0004\u00d2\u0016\u002f');
  await harness.run();
  await harness.clock.advance(200);
  assert.deepEqual(
    pod.apps.map((app) => app.stream.remoteAddress),
    ['fd10:244::7'],
  );
  client.stream.destroy();
  await harness.run();
});
