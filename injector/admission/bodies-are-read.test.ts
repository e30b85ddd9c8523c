import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { leakCheck } from '../../test/support/leak-check.ts';
import { BodyReader, type HttpRefusal } from './body.ts';
import { DEFAULT_ADMISSION_LIMITS } from './limits.ts';

leakCheck();

const limits = {
  ...DEFAULT_ADMISSION_LIMITS,
  ...{ bodyBytesMax: 100_000, bodiesBytesMax: 150_000, smallBodyBytesMax: 20_000 },
};

/** A request whose body comes in pieces. */
function requestOf(pieces: Iterable<Buffer> | AsyncIterable<Buffer>): IncomingMessage {
  const request = { headers: {}, iterator: () => pieces };
  return request as unknown as IncomingMessage;
}

const refusal = (status: number) => (thrown: unknown) => (thrown as HttpRefusal).status === status;

test('a body of single bytes is copied, so that no piece is kept', async () => {
  const piece = Buffer.alloc(1);
  function* pieces() {
    for (let index = 0; index < 40_000; index++) {
      piece[0] = 0x61 + (index % 26);
      yield piece;
    }
  }
  const text = await new BodyReader(limits).read(requestOf(pieces()));
  assert.equal(text.length, 40_000);
  assert.equal(text, 'abcdefghijklmnopqrstuvwxyz'.repeat(1_539).slice(0, 40_000));
});

test('characters that are cut between pieces are whole', async () => {
  const bytes = Buffer.from('žluťoučký kůň €😀'.repeat(2_000));
  const pieces = Array.from({ length: bytes.length }, (_, index) => bytes.subarray(index, index + 1));
  assert.equal(await new BodyReader(limits).read(requestOf(pieces)), bytes.toString());
});

test('a body may have as many bytes as the limit, and all of them together theirs', async () => {
  const reader = new BodyReader(limits);
  const full = Buffer.alloc(limits.bodyBytesMax, 'x');
  assert.equal((await reader.read(requestOf([full]))).length, limits.bodyBytesMax);
  await assert.rejects(reader.read(requestOf([full, Buffer.alloc(1)])), refusal(413));
  const gate = Promise.withResolvers<void>();
  async function* waiting() {
    yield full;
    await gate.promise;
  }
  const first = reader.read(requestOf(waiting()));
  await assert.rejects(reader.read(requestOf([full])), refusal(503));
  // Small ones are read all the same.
  const small = requestOf([Buffer.alloc(limits.smallBodyBytesMax, 'x')]);
  assert.equal((await reader.read(small)).length, limits.smallBodyBytesMax);
  gate.resolve();
  assert.equal((await first).length, limits.bodyBytesMax);
  assert.equal((await reader.read(requestOf([full]))).length, limits.bodyBytesMax);
});
