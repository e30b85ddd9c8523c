import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { leakCheck } from '../../test/support/leak-check.ts';
import { bundlesAreFresh, programFile, STAMP_NAME, sourcesFingerprint } from './bundles.ts';

leakCheck();

const root = mkdtempSync(join(tmpdir(), 'heddle-test-'));

after(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text: string): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), text);
}

beforeEach(() => {
  rmSync(root, { recursive: true, force: true });
  write('cli/main.ts', 'cli');
  write('proxy/main.ts', 'proxy');
  write('common/clock.ts', 'clock');
  write('package-lock.json', '{}');
});

function build(): void {
  write('dist/proxy/main.mjs', 'bundle');
  write(`dist/${STAMP_NAME}`, sourcesFingerprint(root));
}

test('without bundles the sources run', () => {
  assert.equal(bundlesAreFresh(root), false);
  assert.equal(programFile(root, 'proxy', false), join(root, 'proxy/main.ts'));
});

test('bundles run until a source, or a locked package, changes', () => {
  build();
  assert.equal(bundlesAreFresh(root), true);
  assert.equal(programFile(root, 'proxy', true), join(root, 'dist/proxy/main.mjs'));
  write('common/clock.ts', 'clock 2');
  assert.equal(bundlesAreFresh(root), false);
  build();
  write('package-lock.json', '{"a":1}');
  assert.equal(bundlesAreFresh(root), false);
  build();
  write('model/new.ts', 'new');
  assert.equal(bundlesAreFresh(root), false);
});

test('tests and documents are in no bundle, so their changes count for nothing', () => {
  build();
  write('proxy/README.md', 'words');
  write('proxy/something-happens.test.ts', 'test');
  assert.equal(bundlesAreFresh(root), true);
});

test('a program without a bundle of its own runs from source', () => {
  build();
  assert.equal(programFile(root, 'injector', true), join(root, 'injector/main.ts'));
});

test('where there are no sources, bundles are all there is', () => {
  build();
  rmSync(join(root, 'cli'), { recursive: true });
  assert.equal(bundlesAreFresh(root), true);
});
