import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Random, seededRandom } from '../../common/random.ts';
import { BodyDecoder } from './body-decoder.ts';
import { CHUNKED } from './framing.ts';
import { HeadBuffer } from './head-buffer.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { parseRequestHead } from './request-head.ts';
import { parseResponseHead } from './response-head.ts';

const LIMITS = { ...DEFAULT_LIMITS, headerBytesMax: 400, trailerBytesMax: 200, headerCountMax: 12 };

function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random.next() * list.length)] as T;
}

const START = [
  'GET / HTTP/1.1\r\n',
  'POST /a?b HTTP/1.1\r\n',
  'PUT http://h/x HTTP/1.0\r\n',
  'GET /\n',
  'G\x01T / HTTP/1.1\r\n',
];
const LINES = [
  ...[
    'Host: a\r\n',
    'Host: a:80\r\n',
    'X-A: b\r\n',
    'X-A:\r\n',
    'X: \t y \t\r\n',
    'Connection: close, x-a\r\n',
  ],
  ...[
    'Content-Length: 3\r\n',
    'Content-Length: +3\r\n',
    'Transfer-Encoding: chunked\r\n',
    'TE: trailers\r\n',
  ],
  ...[
    ' folded\r\n',
    'X : a\r\n',
    'X: a\rb\r\n',
    'X: a\nY: b\r\n',
    'nocolon\r\n',
    'X: \xe9\r\n',
    'X: \0\r\n',
    'L: '.padEnd(180, 'l'),
  ],
];
const CHUNKS = [
  '3\r\nabc\r\n',
  'A;x=y\r\n0123456789\r\n',
  '0\r\n',
  '\r\n',
  'X-T: 1\r\n',
  '3\r\nabcd\r\n',
  'g\r\n',
  '1\na\r\n',
  ' 1\r\na\r\n',
];

function randomHead(random: Random): string {
  let text = pick(random, START);
  const lines = Math.floor(random.next() * 5);
  for (let line = 0; line < lines; line++) text += pick(random, LINES);
  return `${text}\r\n`;
}

function pieces(random: Random, bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + Math.floor(random.next() * (random.next() < 0.3 ? 2 : 40));
    parts.push(bytes.subarray(at, at + size));
    at += size;
  }
  return parts;
}

/** What reading a head in these pieces says: the head in short, or its fault. */
function readHead(parts: readonly Buffer[]): string {
  const heads = new HeadBuffer(LIMITS.headerBytesMax);
  for (const [index, part] of parts.entries()) {
    const found = heads.find(part, 0);
    if (found === undefined) continue;
    if ('fault' in found) return found.fault;
    const head = parseRequestHead(found, LIMITS);
    if ('fault' in head) return head.fault;
    const left =
      found.bytes.length - found.next + parts.slice(index + 1).reduce((sum, later) => sum + later.length, 0);
    return `${head.method} ${head.target} ${head.framing} ${head.keepAlive} ${head.fields.kept()} +${left}`;
  }
  return 'more';
}

function readBody(parts: readonly Buffer[]): string {
  let out = '';
  let end: string | undefined;
  const sink = {
    onBody: (chunk: Buffer) => {
      out += chunk.toString('latin1');
    },
    onBodyEnd: (trailers: string) => {
      end = trailers;
    },
  };
  const decoder = new BodyDecoder(sink, LIMITS);
  decoder.start(CHUNKED);
  let used = 0;
  for (const part of parts) {
    const next = decoder.decode(part, 0);
    if (typeof next === 'string') return 'fault';
    used += next;
    if (decoder.done) break;
  }
  return `${out} ${end} ${used}`;
}

test('a request head read in random pieces is what it is in one', () => {
  const random = seededRandom(11);
  let good = 0;
  for (let round = 0; round < 4_000; round++) {
    const bytes = Buffer.from(`${randomHead(random)}rest`, 'latin1');
    const whole = readHead([bytes]);
    if (whole.includes('+4')) good++;
    for (let split = 0; split < 3; split++) {
      assert.equal(readHead(pieces(random, bytes)), whole, JSON.stringify(bytes.toString('latin1')));
    }
  }
  assert.ok(good > 300, `${good} heads were sound`);
});

test('a chunked body read in random pieces is what it is in one', () => {
  const random = seededRandom(12);
  let good = 0;
  for (let round = 0; round < 4_000; round++) {
    let text = '';
    const parts = Math.floor(random.next() * 6);
    for (let part = 0; part < parts; part++) text += pick(random, CHUNKS);
    if (random.next() < 0.5) text = `${text.replaceAll('\r\n0\r\n', '\r\n')}0\r\n\r\n`;
    const bytes = Buffer.from(`${text}rest`, 'latin1');
    const whole = readBody([bytes]);
    if (whole !== 'fault') good++;
    for (let split = 0; split < 3; split++) {
      assert.equal(readBody(pieces(random, bytes)), whole, JSON.stringify(text));
    }
  }
  assert.ok(good > 300, `${good} bodies were sound`);
});

test('random bytes never make a reader throw', () => {
  const random = seededRandom(13);
  const letters = [
    '\r',
    '\n',
    '\r\n',
    ' ',
    ':',
    '\t',
    '\0',
    'a',
    'HTTP/1.1',
    'GET',
    '/',
    '200',
    'Host',
    ';',
    '0',
    'f',
    '\xff',
  ];
  for (let round = 0; round < 20_000; round++) {
    let text = '';
    const length = Math.floor(random.next() * 30);
    for (let index = 0; index < length; index++) text += pick(random, letters);
    const bytes = Buffer.from(`${text}\r\n\r\n`, 'latin1');
    readHead([bytes]);
    readBody([bytes]);
    const found = new HeadBuffer(400).find(bytes, 0);
    if (found !== undefined && !('fault' in found)) parseResponseHead(found, 'GET', LIMITS);
  }
});
