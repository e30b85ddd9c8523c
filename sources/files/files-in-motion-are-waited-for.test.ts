import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { KnownFile, type Look } from './known-file.ts';
import { DEFAULT_FILE_LIMITS, EMPTY_FILE_SETTLE_MS, QUIET_MS, QUIET_WAIT_MAX_MS } from './limits.ts';

let folder: string;
let clock: VirtualClock;
let file: KnownFile;
let saves = 0;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-motion-'));
  clock = new VirtualClock();
  file = new KnownFile(join(folder, 'a.yaml'), clock, DEFAULT_FILE_LIMITS);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const service = (name: string, value = 1) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {value: ${value}}\n`;
const WHOLE = `${service('a')}---\n${service('b')}`;
const held = () =>
  file.content.documents.flat().map(({ object }) => `${object.metadata.name}=${JSON.stringify(object.spec)}`);

/** Saves a text, `agoMs` ago by the wall clock. */
function save(text: string, agoMs = 0): void {
  const path = join(folder, 'a.yaml');
  writeFileSync(path, text);
  const seconds = (clock.wallMs() - agoMs) / 1_000;
  utimesSync(path, seconds, seconds);
  saves += 1;
  written = { text, atMs: clock.wallMs() - agoMs };
}
let written = { text: '', atMs: 0 };

function look(atOnce = false): Look {
  const { text, atMs } = written;
  const at = { path: join(folder, 'a.yaml'), sizeBytes: text.length, writtenAtMs: atMs };
  return file.look({ ...at, signature: String(saves) }, atOnce);
}

test('the first look takes what is there', () => {
  save(WHOLE);
  assert.deepEqual(look(true), { changed: true });
  assert.deepEqual(held(), ['a={"value":1}', 'b={"value":1}']);
});

test('a file that is being written is read once it has been quiet', async () => {
  save(WHOLE, 1_000);
  look(true);
  save(service('a', 2));
  assert.deepEqual(look(), { changed: false, againMs: QUIET_MS });
  await clock.advance(QUIET_MS - 10);
  save(`${service('a', 2)}---\n${service('b', 2)}`);
  assert.deepEqual(look(), { changed: false, againMs: QUIET_MS });
  assert.deepEqual(held(), ['a={"value":1}', 'b={"value":1}']);
  await clock.advance(QUIET_MS);
  assert.deepEqual(look(), { changed: true });
  assert.deepEqual(held(), ['a={"value":2}', 'b={"value":2}']);
});

test('a file that is written all the time is read all the same', async () => {
  save(WHOLE, 1_000);
  look(true);
  let reads = 0;
  for (let waitedMs = 0; waitedMs <= QUIET_WAIT_MAX_MS; waitedMs += 10) {
    save(service('a', waitedMs));
    if (look().changed) reads += 1;
    await clock.advance(10);
  }
  assert.equal(reads, 1);
});

test('a file that came with an old date, or one of the future, is whole', () => {
  save(WHOLE, 1_000);
  look(true);
  save(service('a', 2), 60_000);
  assert.deepEqual(look(), { changed: true });
  save(service('a', 3), -60_000);
  assert.deepEqual(look(), { changed: true });
});

test('a file that was touched, or saved with the same words, is what it was', () => {
  save(WHOLE, 1_000);
  look(true);
  const before = file.content;
  save(WHOLE, 1_000);
  assert.deepEqual(look(), { changed: false });
  assert.equal(file.content, before);
});

for (const [name, rest] of [
  ['empty', ''],
  ['cut between two documents', `${service('a')}---\n`],
  ['cut within a document', `${service('a')}---\napiVersion: v1\nkind: Ser`],
  ['cut so that it still parses', `${service('a')}---\n${service('b').replace('spec: {value: 1}\n', '')}`],
] as const) {
  test(`a file that is ${name} is what it was for half a second, and what it is then`, async () => {
    save(WHOLE, 1_000);
    look(true);
    save(rest, 1_000);
    assert.deepEqual(look(), { changed: false, againMs: EMPTY_FILE_SETTLE_MS });
    await clock.advance(EMPTY_FILE_SETTLE_MS - 1);
    assert.deepEqual(look(), { changed: false, againMs: 1 });
    assert.deepEqual(held(), ['a={"value":1}', 'b={"value":1}']);
    await clock.advance(1);
    assert.deepEqual(look(), { changed: true });
    assert.notDeepEqual(name === 'cut within a document' ? [] : held(), ['a={"value":1}', 'b={"value":1}']);
    assert.deepEqual(look(), { changed: false });
  });
}

test('a file that was moved in is whole, however much shorter it is', () => {
  save(WHOLE, 1_000);
  look(true);
  save(service('a'));
  assert.deepEqual(look(true), { changed: true });
  assert.deepEqual(held(), ['a={"value":1}']);
});

test('a file that is whole again before that was never another', async () => {
  save(WHOLE, 1_000);
  look(true);
  save('', 1_000);
  look();
  await clock.advance(100);
  save(WHOLE, 1_000);
  assert.deepEqual(look(), { changed: false });
  save(service('a', 9), 1_000);
  assert.deepEqual(look(), { changed: true }, 'doubt does not outlast the file that gave rise to it');
});

test('a file that can not be read for a while keeps what it held, and its problem ends with that', () => {
  save(WHOLE, 1_000);
  look(true);
  save('a: \xe4', 1_000);
  writeFileSync(join(folder, 'a.yaml'), Buffer.from([0xe4]));
  assert.deepEqual(look(), { changed: true });
  assert.match(file.content.problems[0]?.message ?? '', /UTF-8/);
  assert.equal(held().length, 2);
  save(WHOLE, 1_000);
  assert.deepEqual(look(), { changed: true });
  assert.deepEqual(file.content.problems, []);
});
