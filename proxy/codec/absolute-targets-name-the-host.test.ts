import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeadBuffer } from './head-buffer.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { parseRequestHead } from './request-head.ts';

/** Host as rules see it. */
function hostOf(head: string): string | undefined {
  const found = new HeadBuffer(DEFAULT_LIMITS.headerBytesMax).find(Buffer.from(head, 'latin1'), 0);
  assert.ok(found !== undefined && !('fault' in found));
  const read = parseRequestHead(found, DEFAULT_LIMITS);
  assert.ok(!('fault' in read));
  return read.header('host');
}

test('the host of an absolute target stands in the place of the field Host', () => {
  assert.equal(hostOf('GET http://a:8080/x HTTP/1.1\r\nHost: b\r\n\r\n'), 'a:8080');
  assert.equal(hostOf('GET /x HTTP/1.1\r\nHost: b\r\n\r\n'), 'b');
  assert.equal(hostOf('OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n'), 'b');
  assert.equal(hostOf('GET /x HTTP/1.0\r\n\r\n'), undefined);
});
