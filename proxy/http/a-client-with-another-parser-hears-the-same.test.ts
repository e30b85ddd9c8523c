import assert from 'node:assert/strict';
import http from 'node:http';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { type Random, seededRandom } from '../../common/random.ts';
import { EngineHarness, SIDECAR_HOST } from '../../test/support/engine-harness.ts';
import { mutated, pick, pieces } from '../../test/support/hostile-text.ts';
import { settle } from '../../test/support/virtual-clock.ts';

/**
 * Hostile responses, with Node's own HTTP parser as the client behind the engine: whatever an app says, its client hears
 * a sound response that is whole exactly where the engine took it for whole, or is cut.
 */

const ROUNDS = 1_000;

const STATUS_LINES = [
  ...['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK', 'HTTP/1.1 200 OK', 'HTTP/1.0 200 OK', 'HTTP/1.1 404 Not Found'],
  ...[
    'HTTP/1.1 204 No Content',
    'HTTP/1.1 304 Not Modified',
    'HTTP/1.1 200',
    'HTTP/1.1 101 Switching Protocols',
  ],
  ...['HTTP/1.1 599 \xe9', 'HTTP/2 200 OK', 'HTTP/1.1 20 OK', 'HTTP/1.1 099 OK'],
];
const INTERIM = [
  '',
  '',
  '',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
];
const LINES = [
  ...[
    'X-A: 1',
    'X-B:',
    'Set-Cookie: a=b',
    'Connection: close',
    'Connection: keep-alive',
    'Connection: x-a, upgrade',
  ],
  ...[
    'Keep-Alive: timeout=5',
    'Upgrade: h2c',
    'X-Heddle-Reason: app-refused',
    'Location: /\xe9',
    'Trailer: x-t',
  ],
];
const HOSTILE_LINES = [
  ...[
    'Content-Length: 3',
    'Content-Length: 9',
    'Content-Length: -1',
    'Transfer-Encoding: chunked',
    'X: a\r\n b',
  ],
  ...['Transfer-Encoding: gzip', 'Transfer-Encoding : chunked', 'X: a\rX-Split: 1', 'X: a\nX-Split: 1', 'X'],
];
const CHUNKED = [
  '0\r\n\r\n',
  '3\r\nabc\r\n0\r\n\r\n',
  '3;x\r\nabc\r\n0\r\nX-T: 1\r\n\r\n',
  '3\r\nabcd\r\n0\r\n\r\n',
  '3\r\nab',
];
const LEFTOVERS = ['', '', '', 'x', '\r\n', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'];

function randomResponse(random: Random): string {
  const lines = [pick(random, STATUS_LINES)];
  const fields = Math.floor(random.next() * 4);
  for (let field = 0; field < fields; field++) lines.push(pick(random, LINES));
  let body = 'abc';
  const kind = random.next();
  if (kind < 0.4) {
    lines.push('Transfer-Encoding: chunked');
    body = pick(random, CHUNKED);
  } else if (kind < 0.8) {
    lines.push(`Content-Length: ${random.next() < 0.8 ? 3 : 4}`);
  }
  if (random.next() < 0.15) lines.push(pick(random, HOSTILE_LINES));
  const text = `${pick(random, INTERIM)}${lines.join('\r\n')}\r\n\r\n${body}${pick(random, LEFTOVERS)}`;
  return mutated(random, text);
}

interface Heard {
  status: number;
  body: string;
  /** Whether Node took the response for whole. */
  whole: boolean;
  error: string;
}

/** Asks through the engine with Node's client, on the given connection. */
function ask(stream: Duplex, method: string): { readonly heard: Heard; readonly close: () => void } {
  const heard: Heard = { status: 0, body: '', whole: false, error: '' };
  const request = http.request({
    createConnection: () => stream,
    ...{ method, path: 'http://catalog/', headers: { host: 'catalog', connection: 'keep-alive' } },
  });
  request.on('error', (error: NodeJS.ErrnoException) => {
    heard.error = error.code ?? error.message;
  });
  request.on('response', (response) => {
    heard.status = response.statusCode ?? 0;
    response.setEncoding('latin1');
    response.on('data', (chunk: string) => {
      heard.body += chunk;
    });
    response.on('error', (error: NodeJS.ErrnoException) => {
      heard.error = error.code ?? error.message;
    });
    response.on('end', () => {
      heard.whole = response.complete;
    });
  });
  request.end();
  return { heard, close: () => request.destroy() };
}

test('a client with another parser hears whole what the engine took for whole, and nothing else', async () => {
  const random = seededRandom(2_026);
  const harness = new EngineHarness();
  await harness.outbound();
  harness.service({ retry: { attempts: 0 } });
  const apps = harness.app();
  const { results } = harness.fakes.telemetry;
  let passed = 0;
  let refused = 0;
  for (let round = 0; round < ROUNDS; round++) {
    apps.length = 0;
    results.length = 0;
    const method = random.next() < 0.8 ? 'GET' : 'HEAD';
    const stream = harness.net.dialer.dial({ host: SIDECAR_HOST, port: 15_001 });
    await settle(2);
    const { heard, close } = ask(stream, method);
    await harness.run();
    const text = randomResponse(random);
    const what = `${method} ${JSON.stringify(text)}`;
    const app = apps[0];
    assert.ok(app !== undefined, what);
    for (const piece of pieces(random, text)) {
      app.say(piece);
      await settle(4);
    }
    await harness.run();
    if (random.next() < 0.5) app.stream.end();
    else app.stream.resetAndDestroy?.();
    await harness.run();
    const result = results[0];
    assert.ok(result !== undefined, `the request is over: ${what}`);
    assert.equal(/^HPE_/.test(heard.error), false, `${heard.error}: ${what}`);
    const whole = result.failure === undefined || result.failure.code === 'app-refused';
    if (whole && result.status !== 101) {
      assert.deepEqual(
        [heard.status, heard.whole, heard.body.length],
        [result.status, true, result.responseBytes],
        what,
      );
      passed++;
    } else if (result.status === 503) {
      assert.deepEqual([heard.status, heard.whole], [503, true], what);
      refused++;
    } else {
      assert.equal(heard.whole, false, `what was cut passes for whole: ${what}`);
    }
    close();
    await harness.run();
    assert.equal(harness.stack.stats().active, 0, what);
    assert.equal(harness.stack.stats().upstream.open, 0, what);
  }
  assert.ok(passed > ROUNDS / 4, `${passed} responses passed`);
  assert.ok(refused > ROUNDS / 10, `${refused} responses were refused`);
  await harness.close();
});
