import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EngineHarness, type Talker } from '../../test/support/engine-harness.ts';

let harness: EngineHarness;
let apps: Talker[];

beforeEach(async () => {
  harness = new EngineHarness();
  await harness.outbound();
  harness.service();
  harness.service({ host: 'none', answer: 'no-route' });
  apps = harness.app();
});

afterEach(async () => {
  await harness.close();
  assert.equal(harness.fakes.policy.inFlightNow, 0);
  assert.equal(harness.stack.stats().active, 0);
});

const BLOCK = 'x'.repeat(30_000);
const BODY_BYTES = 4 * BLOCK.length;

/** Answers with a body that a client who reads nothing can't take whole, but the sidecar can. */
async function answerAtLength(app: Talker | undefined): Promise<void> {
  app?.say(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY_BYTES}\r\n\r\n`);
  for (let block = 0; block < 4; block++) {
    app?.say(BLOCK);
    await harness.run();
  }
}

/** A client that has sent `text` and reads nothing yet. */
async function unread(text: string): Promise<Talker> {
  const client = harness.dial();
  client.stream.pause();
  client.say(text);
  await harness.run();
  return client;
}

/** Reads everything that still comes. */
async function readAll(client: Talker): Promise<string> {
  client.stream.resume();
  for (let turn = 0; turn < 20; turn++) await harness.run();
  return client.heard;
}

for (const [what, head] of [
  ['ends its connection', 'GET /a HTTP/1.1\r\nHost: catalog\r\nConnection: close\r\n\r\n'],
  ['speaks HTTP/1.0', 'GET /a HTTP/1.0\r\nHost: catalog\r\n\r\n'],
] as const) {
  test(`a client that ${what} and reads late gets its whole answer`, async () => {
    const client = await unread(head);
    await answerAtLength(apps[0]);
    await harness.clock.advance(20_000);
    const heard = await readAll(client);
    assert.equal(heard.length - heard.indexOf('\r\n\r\n') - 4, BODY_BYTES);
    assert.equal(client.ended, true);
  });
}

test('a client that has finished sending and reads late gets its whole answer', async () => {
  const client = await unread('GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n');
  client.stream.end();
  await harness.run();
  await answerAtLength(apps[0]);
  await harness.clock.advance(20_000);
  const heard = await readAll(client);
  assert.equal(heard.length - heard.indexOf('\r\n\r\n') - 4, BODY_BYTES);
});

test('an answer that nobody ever reads is let go', async () => {
  await unread('GET /a HTTP/1.1\r\nHost: catalog\r\nConnection: close\r\n\r\n');
  await answerAtLength(apps[0]);
  assert.equal(harness.stack.stats().connections, 1);
  await harness.clock.advance(400_000);
  assert.equal(harness.stack.stats().connections, 0);
});

test('requests are not begun while the answers before them are not read', async () => {
  const client = await unread('GET /a HTTP/1.1\r\nHost: catalog\r\n\r\n'.repeat(50));
  const answer = async () => {
    if (apps[0]?.take() === '') return false;
    await answerAtLength(apps[0]);
    return true;
  };
  let answered = 0;
  while (answered < 50 && (await answer())) answered++;
  assert.ok(answered <= 2, `${answered} of 50 requests reached the app of a client that reads nothing`);
  client.stream.resume();
  await harness.run();
  while (answered < 50 && (await answer())) answered++;
  await harness.run();
  assert.equal(client.heard.split('HTTP/1.1 200 OK').length, 51);
});

test('a client that sends without end and reads nothing is not answered into memory', async () => {
  const client = harness.dial();
  client.stream.pause();
  await harness.run();
  const requests = Buffer.from('GET / HTTP/1.1\r\nHost: none\r\n\r\n'.repeat(2_000));
  let taken = 0;
  for (let block = 0; block < 60; block++) {
    if (client.stream.write(requests)) taken++;
    await harness.run();
  }
  assert.ok(taken < 12, `${taken} blocks of 2,000 requests were taken`);
  client.stream.destroy();
  await harness.run();
});
