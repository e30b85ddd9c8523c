import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readClientHello } from '../tls/client-hello.ts';
import { BodyDecoder } from './body-decoder.ts';
import { CHUNKED } from './framing.ts';
import { HeadBuffer } from './head-buffer.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { parseRequestHead } from './request-head.ts';
import { parseResponseHead } from './response-head.ts';

/** A hostile message may cost this many times as much as a plain one of its size. */
const COST_RATIO_MAX = 40;
const HEAD_BYTES = 64_000;

const START = 'GET / HTTP/1.1\r\nHost: a\r\n';

/** `start`, then `unit` up to the size of the largest head. */
function filled(start: string, unit: string, end: string): string {
  return start + unit.repeat(Math.floor((HEAD_BYTES - start.length - end.length) / unit.length)) + end;
}

const FIELDS = Array.from({ length: 190 }, (_, index) => `x-${100 + index}: v\r\n`).join('');
const PLAIN = filled(START, `x-plain: ${'v'.repeat(330)}\r\n`, '');

const HOSTILE: readonly (readonly [what: string, head: string])[] = [
  [
    'options that are looked for among many fields',
    filled(`${START}${FIELDS}Connection: `, 'x-999,', 'a\r\n'),
  ],
  ['empty options', filled(`${START}Connection: `, ',', 'a\r\n')],
  ['options in many fields', START + `Connection: ${'x-100,'.repeat(50)}a\r\n`.repeat(190)],
  ['codings', filled(`${START}Transfer-Encoding: `, 'a,', 'chunked\r\n')],
  ['elements of TE', filled(`${START}TE: `, 'a,', 'a\r\n')],
  ['protocols to upgrade to', START + `Upgrade: ${'a,'.repeat(160)}\r\n`.repeat(190)],
  ['tabs before a value', filled(`${START}x:`, '\t', 'v\r\n')],
  ['spaces within a value', filled(`${START}x: a`, ' ', 'b\r\n')],
  ['a host', filled('GET / HTTP/1.1\r\nHost: ', 'a', '\r\n')],
  ['a path', filled('GET /', '../', ' HTTP/1.1\r\nHost: a\r\n')],
];

/** The least time of several runs, in milliseconds: what else the machine does only adds to it. */
function costOf(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 12; round++) {
    const startedMs = performance.now();
    run();
    least = Math.min(least, performance.now() - startedMs);
  }
  return least;
}

function read(head: string, response = false): void {
  const found = new HeadBuffer(DEFAULT_LIMITS.headerBytesMax).find(Buffer.from(`${head}\r\n`, 'latin1'), 0);
  assert.ok(found !== undefined && !('fault' in found));
  if (response) parseResponseHead(found, 'GET', DEFAULT_LIMITS);
  else parseRequestHead(found, DEFAULT_LIMITS);
}

test('a hostile head costs little more than a plain one of its size, from either side', () => {
  const plain = costOf(() => read(PLAIN));
  for (const [what, head] of HOSTILE) {
    const answer = head.replace(/^.*\r\n/, 'HTTP/1.1 200 OK\r\n');
    const ratio =
      Math.max(
        costOf(() => read(head)),
        costOf(() => read(answer, true)),
      ) / plain;
    assert.ok(ratio < COST_RATIO_MAX, `${what}: ${ratio.toFixed(1)} times`);
  }
});

test('a head in single bytes costs its pieces, not their square', () => {
  const cost = (bytes: Buffer) =>
    costOf(() => {
      const heads = new HeadBuffer(DEFAULT_LIMITS.headerBytesMax);
      for (let at = 0; at < bytes.length; at++) heads.find(bytes.subarray(at, at + 1), 0);
    });
  const bytes = Buffer.from(PLAIN, 'latin1');
  const ratio = cost(bytes) / cost(bytes.subarray(0, bytes.length / 8));
  assert.ok(ratio < 8 * 4, `eight times the bytes cost ${ratio.toFixed(1)} times as much`);
});

test('trailers in single bytes cost their pieces, not their square', () => {
  const sink = { onBody: () => undefined, onBodyEnd: () => undefined };
  const cost = (bytes: Buffer) =>
    costOf(() => {
      const decoder = new BodyDecoder(sink, DEFAULT_LIMITS);
      decoder.start(CHUNKED);
      for (let at = 0; at < bytes.length; at++) decoder.decode(bytes.subarray(at, at + 1), 0);
    });
  const bytes = Buffer.from(`0\r\n${'x: y\r\n'.repeat(1_300)}`, 'latin1');
  const ratio = cost(bytes) / cost(bytes.subarray(0, bytes.length / 8));
  assert.ok(ratio < 8 * 5, `eight times the bytes cost ${ratio.toFixed(1)} times as much`);
});

test('chunks of one byte come as few pieces, and each read is handed on before the next', () => {
  const pieces: string[] = [];
  const sink = {
    onBody: (chunk: Buffer) => pieces.push(chunk.toString()),
    onBodyEnd: () => pieces.push('end'),
  };
  const decoder = new BodyDecoder(sink, DEFAULT_LIMITS);
  decoder.start(CHUNKED);
  decoder.decode(Buffer.from('1\r\na\r\n'.repeat(10_000)), 0);
  assert.ok(pieces.length <= 5, `${pieces.length} pieces`);
  assert.equal(pieces.join(''), 'a'.repeat(10_000));
  pieces.length = 0;
  decoder.decode(Buffer.from('1\r\nb\r\n1\r\n'), 0);
  decoder.decode(Buffer.from(`c\r\n200\r\n${'d'.repeat(512)}\r\n0\r\n`), 0);
  decoder.decode(Buffer.from('\r\n'), 0);
  assert.deepEqual(pieces, ['b', 'c', 'd'.repeat(512), 'end']);
});

test('a hello in records of one byte is looked at a few times only', () => {
  const claimed = 24_000;
  const records = Buffer.concat(
    Array.from({ length: 5_000 }, (_, index) =>
      Buffer.from([22, 3, 1, 0, 1, [1, 0, claimed >> 8][index] ?? 0]),
    ),
  );
  let looks = 0;
  let enough = 0;
  for (let length = 1; length <= records.length; length++) {
    if (length < enough) continue;
    looks++;
    const verdict = readClientHello(records.subarray(0, length));
    assert.ok(typeof verdict === 'number');
    enough = verdict;
  }
  assert.ok(looks < 20, `${looks} looks`);
});
