import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  harness.service();
  apps = harness.app();
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

const GET = 'GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** A client that has said `text`, and the app's end of its first connection. */
async function asked(text: string): Promise<{ client: Talker; app: Talker }> {
  const client = harness.dial();
  client.say(text);
  await harness.run();
  const app = apps[0];
  assert.ok(app !== undefined, `the app is reached; the client heard: ${client.heard}`);
  return { client, app };
}

async function says(talker: Talker, text: string): Promise<void> {
  talker.say(text);
  await harness.run();
}

test('100 and 103 pass on before the final response, and the body after 100', async () => {
  const { client, app } = await asked(
    'PUT / HTTP/1.1\r\nHost: catalog\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n',
  );
  assert.match(app.take(), /Expect: 100-continue/);
  await says(app, 'HTTP/1.1 100 Continue\r\n\r\n');
  assert.equal(client.take(), 'HTTP/1.1 100 Continue\r\n\r\n');
  await says(client, 'body');
  assert.equal(app.take(), 'body');
  await says(app, `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`);
  assert.equal(
    client.take(),
    'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  );
});

test('a body that was held back for 100 and refused ends the connection', async () => {
  const { client, app } = await asked(
    'PUT / HTTP/1.1\r\nHost: catalog\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n',
  );
  await says(app, 'HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n');
  assert.match(client.heard, /connection: close/);
  assert.equal(client.ended, true);
});

test('what an HTTP/1.0 client expects is ignored', async () => {
  const { client, app } = await asked(
    'PUT / HTTP/1.0\r\nHost: catalog\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody',
  );
  assert.equal(/expect/i.test(app.heard), false);
  await says(app, `HTTP/1.1 100 Continue\r\n\r\n${OK}`);
  assert.match(client.heard, /^HTTP\/1\.1 200 OK\r\n/);
});

test('an expectation that is no 100-continue goes to the app, who may refuse it', async () => {
  const { client, app } = await asked('GET / HTTP/1.1\r\nHost: catalog\r\nExpect: y 100-continue\r\n\r\n');
  assert.match(app.take(), /\r\nExpect: y 100-continue\r\n/);
  await says(app, 'HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n');
  assert.match(client.take(), /^HTTP\/1\.1 417 /);
  await says(client, GET);
  assert.match(app.heard, /^GET \/a /);
});

test('an app that answers before the body is whole ends the connection, and none of the body is a request', async () => {
  const { client, app } = await asked('POST / HTTP/1.1\r\nHost: catalog\r\nContent-Length: 100\r\n\r\n');
  await says(app, 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
  assert.match(client.heard, /^HTTP\/1\.1 413 [\s\S]*connection: close\r\n\r\nbig$/);
  assert.equal(client.ended, true);
  await says(client, GET.padEnd(100) + GET);
  assert.equal(apps.length, 1);
  assert.equal(app.heard.includes('GET'), false);
});

test('a long answer may begin before the body is whole, and both go on side by side', async () => {
  const { client, app } = await asked(
    'POST / HTTP/1.1\r\nHost: catalog\r\nTransfer-Encoding: chunked\r\n\r\n',
  );
  await says(app, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
  for (const word of ['one', 'two']) {
    await says(client, `3\r\n${word}\r\n`);
    assert.ok(app.heard.endsWith(`3\r\n${word}\r\n`));
    await says(app, `3\r\n${word}\r\n`);
    assert.ok(client.heard.endsWith(`3\r\n${word}\r\n`));
  }
  await says(client, '0\r\n\r\n');
  await says(app, '0\r\n\r\n');
  assert.ok(client.heard.endsWith('0\r\n\r\n'));
  assert.equal(client.ended, true);
});
