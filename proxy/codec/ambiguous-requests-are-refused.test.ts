import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineHarness } from '../../test/support/engine-harness.ts';

const OK = 'GET / HTTP/1.1\r\nHost: catalog\r\n';
const POST = 'POST / HTTP/1.1\r\nHost: catalog\r\n';
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;

/** What two readers could understand differently, or what no correct client sends. */
const HOSTILE: readonly (readonly [what: string, bytes: string])[] = [
  ['both lengths', `${POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  [
    'both lengths, the other way round',
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`,
  ],
  ['two differing lengths', `${POST}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`],
  ['two equal lengths', `${POST}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd`],
  ['a list of lengths', `${POST}Content-Length: 4, 4\r\n\r\nabcd`],
  ['a signed length', `${POST}Content-Length: +4\r\n\r\nabcd`],
  ['a negative length', `${POST}Content-Length: -1\r\n\r\n`],
  ['a length with a space inside', `${POST}Content-Length: 1 0\r\n\r\nabcdefghij`],
  ['a hexadecimal length', `${POST}Content-Length: 0x4\r\n\r\nabcd`],
  ['a length with a fraction', `${POST}Content-Length: 4.0\r\n\r\nabcd`],
  ['a length with an exponent', `${POST}Content-Length: 1e1\r\n\r\nabcdefghij`],
  ['an empty length', `${POST}Content-Length: \r\n\r\n`],
  ['a length beyond exact numbers', `${POST}Content-Length: 9007199254740993\r\n\r\n`],
  ['a length with letters after it', `${POST}Content-Length: 4abc\r\n\r\nabcd`],
  ['identity coding', `${POST}Transfer-Encoding: identity\r\n\r\n`],
  ['chunked twice', `${POST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`],
  [
    'chunked twice in two fields',
    `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  ['chunked not last', `${POST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
  ['chunked hidden by another coding', `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  ['chunked in quotes', `${POST}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n`],
  ['chunked with a parameter', `${POST}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n`],
  ['an empty list element before chunked', `${POST}Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n`],
  ['an empty coding', `${POST}Transfer-Encoding: \r\n\r\n`],
  ['chunked after a vertical tab', `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`],
  ['a coding name with a space before the colon', `${POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
  ['a coding in HTTP/1.0', 'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a folded field', `${OK}X-A: 1\r\n folded\r\n\r\n`],
  ['a field folded by a tab', `${OK}X-A: 1\r\n\tTransfer-Encoding: chunked\r\n\r\n`],
  ['a fold before the first field', 'GET / HTTP/1.1\r\n Host: catalog\r\n\r\n'],
  ['a bare LF after the request line', 'GET / HTTP/1.1\nHost: catalog\r\n\r\n'],
  ['a bare LF between fields', `${OK}X-A: 1\nX-B: 2\r\n\r\n`],
  ['bare LFs throughout', 'GET / HTTP/1.1\nHost: catalog\n\n'],
  ['a bare LF as the end of the head', `${OK}\n`],
  ['a bare CR in a value', `${OK}X-A: 1\rX-B: 2\r\n\r\n`],
  ['a bare CR in the request line', 'GET /\r HTTP/1.1\r\nHost: catalog\r\n\r\n'],
  ['a bare CR as a line end', 'GET / HTTP/1.1\rHost: catalog\r\r'],
  ['a space before a colon', `${OK}X-A : 1\r\n\r\n`],
  ['a tab before a colon', `${OK}X-A\t: 1\r\n\r\n`],
  ['a name with a space', `${OK}X A: 1\r\n\r\n`],
  ['a name with a NUL', `${OK}X\0A: 1\r\n\r\n`],
  ['a name with a slash', `${OK}X/A: 1\r\n\r\n`],
  ['a name with a high byte', `${OK}X\xe4: 1\r\n\r\n`],
  ['a name in brackets', `${OK}[X]: 1\r\n\r\n`],
  ['an empty name', `${OK}: 1\r\n\r\n`],
  ['a line without a colon', `${OK}X-A\r\n\r\n`],
  ['a NUL in a value', `${OK}X-A: a\0b\r\n\r\n`],
  ['a control character in a value', `${OK}X-A: a\x01b\r\n\r\n`],
  ['DEL in a value', `${OK}X-A: a\x7fb\r\n\r\n`],
  ['an escape in a value', `${OK}X-A: a\x1bb\r\n\r\n`],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
  ['two Hosts', `${OK}Host: other\r\n\r\n`],
  ['two equal Hosts', `${OK}Host: catalog\r\n\r\n`],
  ['an empty Host', 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
  ['a Host with user information', 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n'],
  ['a Host with a path', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n'],
  ['a Host with a space', 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'],
  ['a Host list', 'GET / HTTP/1.1\r\nHost: a, b c\r\n\r\n'],
  ['a Host with an impossible port', 'GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n'],
  ['a Host with a worded port', 'GET / HTTP/1.1\r\nHost: a:http\r\n\r\n'],
  ['a Host with an open bracket', 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n'],
  ['a Host longer than any name', `GET / HTTP/1.1\r\nHost: ${'a'.repeat(256)}\r\n\r\n`],
  ['too many options of Connection', `${OK}Connection: ${'x,'.repeat(40)}\r\n\r\n`],
  ['a bare CR before the request line', '\rGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a bare CR among empty lines', '\r\n\r\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a bare LF before the request line', '\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a TLS hello without a line end', '\x16\x03\x01\x00\x05\x01hell'],
  ['no target', 'GET HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['two spaces before the target', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['two spaces after the target', 'GET /  HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a tab in the request line', 'GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a space before the method', ' GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a space after the version', 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n'],
  ['an invalid method', 'GE(T / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a control character in the method', 'G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['HTTP/0.9', 'GET /\r\n\r\n'],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: a\r\n\r\n'],
  ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'],
  ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['HTTP/1.10', 'GET / HTTP/1.10\r\nHost: a\r\n\r\n'],
  ['a version in lower case', 'GET / http/1.1\r\nHost: a\r\n\r\n'],
  ['a NUL in the target', 'GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a fragment', 'GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['a relative target', 'GET a HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an https target', 'GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an absolute target with user information', 'GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an absolute target without a host', 'GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['an asterisk for GET', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['CONNECT to a path', 'CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['CONNECT without a port', 'CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['CONNECT with a body', 'CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc'],
  ['a chunk size with a sign', `${CHUNKED}+5\r\nhello\r\n0\r\n\r\n`],
  ['a chunk size with a prefix', `${CHUNKED}0x5\r\nhello\r\n0\r\n\r\n`],
  ['a chunk size after a space', `${CHUNKED} 5\r\nhello\r\n0\r\n\r\n`],
  ['a chunk size before a space', `${CHUNKED}5 \r\nhello\r\n0\r\n\r\n`],
  ['an empty chunk size', `${CHUNKED}\r\nhello\r\n0\r\n\r\n`],
  ['an extension without a size', `${CHUNKED};a=b\r\nhello\r\n0\r\n\r\n`],
  ['a chunk size with too many digits', `${CHUNKED}00000000000005\r\nhello\r\n0\r\n\r\n`],
  ['a chunk size that overflows', `${CHUNKED}fffffffffffffffff\r\nhello`],
  ['a chunk size that ends in a bare LF', `${CHUNKED}5\nhello\r\n0\r\n\r\n`],
  ['a chunk size that ends in a bare CR', `${CHUNKED}5\rhello\r\n0\r\n\r\n`],
  ['an extension with a bare LF', `${CHUNKED}5;a\nhello\r\n0\r\n\r\n`],
  ['a chunk that is longer than its size', `${CHUNKED}4\r\nhello\r\n0\r\n\r\n`],
  ['a chunk that ends in a bare LF', `${CHUNKED}5\r\nhello\n0\r\n\r\n`],
  ['a chunk without its end', `${CHUNKED}5\r\nhello0\r\n\r\n`],
  ['trailers that end in a bare LF', `${CHUNKED}0\r\n\n`],
  ['a trailer that ends in a bare LF', `${CHUNKED}0\r\nX-A: 1\n\n`],
  ['a trailer without a colon', `${CHUNKED}0\r\nX-A\r\n\r\n`],
  ['a folded trailer', `${CHUNKED}0\r\nX-A: 1\r\n b\r\n\r\n`],
  ['a trailer with a space before its colon', `${CHUNKED}0\r\nX-A : 1\r\n\r\n`],
];

async function refused(pieces: readonly string[]): Promise<string> {
  const harness = new EngineHarness();
  await harness.outbound('http-proxy');
  harness.service();
  for (const host of ['a', 'b', 'other']) harness.service({ host });
  const apps = harness.app();
  const client = harness.dial();
  for (const piece of pieces) {
    client.say(piece);
    await harness.run();
  }
  // A next request on the same connection must never be heard.
  client.say('GET /smuggled HTTP/1.1\r\nHost: catalog\r\n\r\n');
  await harness.run();
  await harness.clock.advance(2_000);
  for (const app of apps) assert.equal(app.heard.includes('smuggled'), false);
  assert.ok(client.ended || client.closed, 'the connection ends');
  await harness.close();
  return client.heard;
}

for (const [what, bytes] of HOSTILE) {
  test(`refused: ${what}`, async () => {
    const answer = await refused([bytes]);
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\nx-heddle-reason: bad-request\r\n/);
    assert.equal(answer.split(/HTTP\/1\.1 \d{3} /).length, 2, 'one answer');
  });
}

test('refused in whatever two pieces it comes', async () => {
  for (const [what, bytes] of HOSTILE.filter((_entry, index) => index % 8 === 0)) {
    for (let at = 1; at < bytes.length; at++) {
      const answer = await refused([bytes.slice(0, at), bytes.slice(at)]);
      assert.match(answer, /^HTTP\/1\.1 400 /, `${what}, split at ${at}`);
    }
  }
});

test('a transfer coding that is not implemented is 501', async () => {
  const answer = await refused([`${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`]);
  assert.match(answer, /^HTTP\/1\.1 501 /);
});

test('a head beyond its bytes, and one beyond its fields, is 431', async () => {
  assert.match(await refused([`${OK}X-A: ${'a'.repeat(70_000)}\r\n\r\n`]), /^HTTP\/1\.1 431 /);
  assert.match(await refused([`GET /${'a'.repeat(70_000)} HTTP/1.1\r\n`]), /^HTTP\/1\.1 431 /);
  assert.match(await refused([`${OK}${'X-A: 1\r\n'.repeat(250)}\r\n`]), /^HTTP\/1\.1 431 /);
});

test('a chunk extension and trailers beyond their bytes are refused', async () => {
  assert.match(await refused([`${CHUNKED}5;${'a'.repeat(2_000)}\r\nhello\r\n0\r\n\r\n`]), /^HTTP\/1\.1 400 /);
  assert.match(await refused([`${CHUNKED}0\r\nX-A: ${'a'.repeat(9_000)}\r\n\r\n`]), /^HTTP\/1\.1 400 /);
});
