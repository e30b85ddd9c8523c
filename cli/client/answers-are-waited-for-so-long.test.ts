import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { leakCheck } from '../../test/support/leak-check.ts';
import { eventually } from '../../test/support/wait.ts';
import { fetchText } from './mesh.ts';

leakCheck();

const URL_OF_AGENT = 'http://agent/status';

/** A connection on which nobody answers, or `answer` once something was asked. */
function connection(answer?: string): Duplex {
  const stream = new Duplex({
    read: () => undefined,
    write(_chunk, _encoding, done) {
      done();
      if (answer !== undefined) stream.push(answer);
    },
  });
  return stream;
}

test('an answer is read from a connection that is opened for it', async () => {
  const answered = connection('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
  const { status, text } = await fetchText(URL_OF_AGENT, { connection: async () => answered });
  assert.deepEqual([status, text], [200, 'ok']);
});

test('a connection that says nothing is given up, whether it was open or is opened for it', async () => {
  for (const open of [(stream: Duplex) => stream, (stream: Duplex) => async () => stream]) {
    const silent = connection();
    await assert.rejects(
      fetchText(URL_OF_AGENT, { connection: open(silent), timeoutMs: 20 }),
      /no answer within 20 ms/,
    );
    assert.equal(silent.destroyed, true);
  }
});

test('an answer that stops halfway is given up as well', async () => {
  const halfway = connection('HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf');
  await assert.rejects(
    fetchText(URL_OF_AGENT, { connection: halfway, timeoutMs: 20 }),
    /no answer within 20 ms/,
  );
  assert.equal(halfway.destroyed, true);
});

test('why no connection could be opened is why there is no answer', async () => {
  const refused = new Error('refused');
  const asking = fetchText(URL_OF_AGENT, { connection: () => Promise.reject(refused) });
  await assert.rejects(asking, (thrown) => thrown === refused);
});

test('a connection that opens after the time is let go of', async () => {
  const opening = Promise.withResolvers<Duplex>();
  const asking = fetchText(URL_OF_AGENT, { connection: () => opening.promise, timeoutMs: 20 });
  await assert.rejects(asking, /no answer within 20 ms/);
  const late = connection();
  opening.resolve(late);
  await eventually(() => late.destroyed, { deadlineMs: 2_000, what: 'the late one is destroyed' });
});
