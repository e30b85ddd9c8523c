import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { readIfThere, writeAtomically } from './atomic-file.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-files-'));
});

afterEach(() => rmSync(directory, { recursive: true }));

function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

test('a file comes with its directories, for its owner only', () => {
  const path = join(directory, 'a', 'b', 'key.pem');
  writeAtomically(path, 'secret');
  assert.equal(readIfThere(path), 'secret');
  assert.equal(modeOf(path), 0o600);
  assert.equal(modeOf(join(directory, 'a')), 0o700);
});

test('a new text takes the place of the old one, and leaves nothing beside it', () => {
  const path = join(directory, 'mesh.json');
  writeAtomically(path, 'a long first text', 0o644);
  writeAtomically(path, 'short', 0o644);
  assert.equal(readIfThere(path), 'short');
  assert.deepEqual(readdirSync(directory), ['mesh.json']);
});

test('what a crash left behind does not lend its mode', () => {
  const path = join(directory, 'key.pem');
  writeFileSync(join(directory, '.key.pem.tmp'), 'half', { mode: 0o644 });
  writeAtomically(path, 'secret');
  assert.equal(modeOf(path), 0o600);
});

test('a link in the way is replaced, not followed', () => {
  const victim = join(directory, 'victim');
  writeFileSync(victim, 'untouched');
  symlinkSync(victim, join(directory, '.key.pem.tmp'));
  symlinkSync(victim, join(directory, 'key.pem'));
  writeAtomically(join(directory, 'key.pem'), 'secret');
  assert.equal(readFileSync(victim, 'utf8'), 'untouched');
  assert.equal(readIfThere(join(directory, 'key.pem')), 'secret');
});

test('a write that fails leaves the old state', () => {
  const path = join(directory, 'taken');
  mkdirSync(join(path, 'inside'), { recursive: true });
  assert.throws(() => writeAtomically(path, 'text'), /EISDIR|ENOTEMPTY|EEXIST/);
  assert.deepEqual(readdirSync(directory), ['taken']);
});

test('a file that is not there is undefined, one that can not be read is an error', () => {
  assert.equal(readIfThere(join(directory, 'none')), undefined);
  writeFileSync(join(directory, 'file'), '');
  assert.equal(readIfThere(join(directory, 'file', 'below')), undefined);
  assert.throws(() => readIfThere(directory), /EISDIR/);
});
