import assert from 'node:assert/strict';
import http from 'node:http';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { type Random, seededRandom } from '../../common/random.ts';
import { APP_HOST, EngineHarness } from '../../test/support/engine-harness.ts';
import { mutated, pick, pieces } from '../../test/support/hostile-text.ts';

/**
 * Hostile streams against a second reader that shares no code with the engine: Node's own HTTP parser, as the app behind
 * the engine and as its client. What the engine understood and what the other reads of its output must be the same.
 */

const ROUNDS = 1_500;

const METHODS = ['GET', 'GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'];
const TARGETS = ['/', '/a?b=c', 'http://catalog/x', '/a/../b', '/%2e%2e/%00', '//a//b', '/;a=b', '/a?b?c&d'];
const LINES = [
  ...['X-A: 1', 'X-A:', 'X-B: a, b', 'x-c:\ta\t', 'X-D: caf\xe9', 'Cookie: a=b; c=d', 'Accept: */*'],
  ...[
    'Connection: close',
    'Connection: keep-alive',
    'Connection: x-a, te',
    'TE: trailers',
    'Expect: 100-continue',
  ],
  ...['Expect: x', 'Upgrade: h2c', 'Keep-Alive: timeout=5', 'Proxy-Connection: close', 'Trailer: x-t'],
  ...['X-Forwarded-For: 1.1.1.1', 'X-Heddle-Attempt: 3', 'Traceparent: 00-a', 'Transfer_Encoding: chunked'],
];
const HOSTILE_LINES = [
  ...[
    'Content-Length: 0',
    'Content-Length: 5',
    'Content-Length: +5',
    'Content-Length: 5, 5',
    'Content-Length: 0x5',
  ],
  ...['Transfer-Encoding: chunked', 'Transfer-Encoding: identity', 'Transfer-Encoding: chunked, identity'],
  ...[
    'Transfer-Encoding : chunked',
    'Transfer-Encoding:\x0bchunked',
    ' Transfer-Encoding: chunked',
    'X: a\rb',
  ],
  ...[
    'Transfer-Encoding: CHUNKED',
    'Content-Length : 5',
    'X: a\nTransfer-Encoding: chunked',
    'Host: other',
    'X',
  ],
];
const CHUNKED_BODIES = [
  '0\r\n\r\n',
  '5\r\nhello\r\n0\r\n\r\n',
  '00005;a="b"\r\nhello\r\n0\r\nX-T: 1\r\n\r\n',
  'A\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n',
  '5\r\nhello\r\n0\r\nContent-Length: 7\r\n\r\n',
];
const HOSTILE_BODIES = [
  ...[
    '5\r\nhello0\r\n\r\n',
    '5\nhello\r\n0\r\n\r\n',
    '0\r\n\n',
    '5 \r\nhello\r\n0\r\n\r\n',
    '-5\r\nhello\r\n0\r\n\r\n',
  ],
  ...['5;\nx\r\nhello\r\n0\r\n\r\n', '6\r\nhello\r\n0\r\n\r\n', 'fffffffffffff\r\nhello', '0\r\nX: 1\n\r\n'],
];
function randomRequest(random: Random, host: string): string {
  const lines = [`Host: ${host}`];
  const fields = Math.floor(random.next() * 4);
  for (let field = 0; field < fields; field++) lines.push(pick(random, LINES));
  let body = '';
  const kind = random.next();
  if (kind < 0.3) {
    lines.push('Transfer-Encoding: chunked');
    body = pick(random, random.next() < 0.7 ? CHUNKED_BODIES : HOSTILE_BODIES);
  } else if (kind < 0.6) {
    body = 'x'.repeat(Math.floor(random.next() * 20));
    lines.push(`Content-Length: ${body.length}`);
  }
  if (random.next() < 0.15)
    lines.splice(Math.floor(random.next() * lines.length), 0, pick(random, HOSTILE_LINES));
  return `${pick(random, METHODS)} ${pick(random, TARGETS)} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
}

/** Node knows a fixed list of methods, takes no raw UTF-8 in a target, and is cut where the engine gives up within a body. */
const EXCUSED = ['HPE_INVALID_METHOD', 'HPE_INVALID_URL', 'HPE_INVALID_EOF_STATE'];

interface Seen {
  readonly line: string;
  body: string;
  complete: boolean;
}

/** Node's parser as the app: what it saw, and what it refused. */
function oracleApp(harness: EngineHarness): { readonly seen: Seen[]; readonly refused: string[] } {
  const seen: Seen[] = [];
  const refused: string[] = [];
  const take: http.RequestListener = (request, response) => {
    const entry: Seen = { line: `${request.method} ${request.url}`, body: '', complete: false };
    seen.push(entry);
    request.setEncoding('latin1');
    request.on('data', (chunk: string) => {
      entry.body += chunk;
    });
    request.on('error', () => undefined);
    request.on('end', () => {
      entry.complete = true;
      response.end(`answer ${seen.length}`);
    });
  };
  const server = http.createServer({ keepAliveTimeout: 0 }, take);
  server.on('checkContinue', (request, response) => {
    response.writeContinue();
    take(request, response);
  });
  server.on('checkExpectation', take);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code?.startsWith('HPE_') === true && !EXCUSED.includes(error.code)) refused.push(error.code);
    socket.destroy();
  });
  harness.net.listen(APP_HOST, 9_000, (stream) => {
    server.emit('connection', Object.assign(stream, { setTimeout: () => stream }) as unknown as Socket);
  });
  return { seen, refused };
}

test('an app with another parser sees the requests that the engine saw, no more and no others', async () => {
  const random = seededRandom(2_025);
  const harness = new EngineHarness();
  await harness.outbound();
  harness.service();
  // Wherever a mangled Host leads, it leads to the app.
  harness.fakes.config.found = () => ({ kind: 'mesh', key: 'catalog:80' });
  const { seen, refused } = oracleApp(harness);
  const { opened, results } = harness.fakes.telemetry;
  let requests = 0;
  let refusals = 0;
  for (let round = 0; round < ROUNDS; round++) {
    seen.length = 0;
    opened.length = 0;
    results.length = 0;
    let text = '';
    const count = 1 + Math.floor(random.next() * 3);
    for (let index = 0; index < count; index++) text += mutated(random, randomRequest(random, 'catalog'));
    const client = harness.dial();
    for (const piece of pieces(random, text)) {
      client.say(piece);
      if (random.next() < 0.5) await harness.run();
    }
    await harness.run();
    await harness.run();
    client.stream.destroy();
    await harness.run();
    const what = JSON.stringify(text);
    assert.deepEqual(refused, [], `the app's parser refused what the engine passed on: ${what}`);
    const understood = opened
      .map(({ view }, index) => ({ view, result: results[index] }))
      .filter(
        ({ view }) => http.METHODS.includes(view.method) && !/[\x80-\xff]/.test(view.path + view.query),
      );
    assert.ok(understood.length - seen.length <= 1, `the app missed requests: ${what}`);
    for (const [index, { line, body, complete }] of seen.entries()) {
      const { view, result } = understood[index] ?? {};
      assert.equal(
        line.replace(/\?$/, ''),
        `${view?.method} ${view?.path}${view?.query ? `?${view.query}` : ''}`,
        what,
      );
      if (complete) assert.equal(body.length, result?.requestBytes, what);
      assert.equal(complete, result?.status === 200, what);
    }
    requests += seen.length;
    if (client.heard.includes('HTTP/1.1 400')) refusals++;
    assert.equal(harness.stack.stats().active, 0, what);
    assert.equal(harness.stack.stats().connections, 0, what);
  }
  assert.ok(requests > ROUNDS / 2, `${requests} requests reached the app`);
  assert.ok(refusals > ROUNDS / 10, `${refusals} streams were refused`);
  await harness.close();
});
