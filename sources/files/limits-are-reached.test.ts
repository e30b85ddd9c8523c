import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { DEFAULT_FILE_LIMITS, type FileLimits } from './limits.ts';
import { parseDocuments } from './parse.ts';
import { readManifest, scanFolder } from './scan.ts';

const pod = (name: string) => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\n`;
const limited = (limits: Partial<FileLimits>): FileLimits => ({ ...DEFAULT_FILE_LIMITS, ...limits });
const read = (text: string, limits: Partial<FileLimits>) => {
  const results = parseDocuments(text, 'a.yaml', limited(limits));
  return {
    names: results.flatMap(({ objects }) => objects.map(({ object }) => object.metadata.name)),
    problems: results.flatMap(({ problems }) => problems.map(({ line, message }) => `${line} ${message}`)),
  };
};

test('documents past their number are reported and not read', () => {
  const { names, problems } = read([pod('a'), pod('b'), pod('c')].join('---\n'), { documentsPerFileMax: 2 });
  assert.deepEqual(names, ['a', 'b']);
  assert.match(problems[0] ?? '', /^8 more than 2 documents/);
});

test('objects of a list past their number are reported and not read', () => {
  const items = ['a', 'b', 'c'].map((name) => `- ${pod(name).trim().replaceAll('\n', '\n  ')}\n`).join('');
  const { names, problems } = read(`apiVersion: v1\nkind: List\nitems:\n${items}`, { objectsPerListMax: 2 });
  assert.deepEqual(names, ['a', 'b']);
  assert.match(problems[0] ?? '', /^10 more than 2 objects/);
});

test('nesting past its depth is refused, and one level less is read', () => {
  const nested = (depth: number) => `${pod('a')}spec: ${'['.repeat(depth)}${']'.repeat(depth)}\n`;
  assert.deepEqual(read(nested(4), { nestingDepthMax: 4 }).names, ['a']);
  assert.match(read(nested(6), { nestingDepthMax: 4 }).problems[0] ?? '', /^4 .*more than 4 levels/);
});

test('nesting that exhausts the parser is told in words', () => {
  const { problems } = read(`${pod('a')}spec: ${'['.repeat(100_000)}`, {});
  assert.match(problems[0] ?? '', /nested too deep/);
});

test('aliases past their number are refused', () => {
  const text = `${pod('a')}spec:\n  a: &a [x]\n  b: [${Array(20).fill('*a').join(', ')}]\n`;
  assert.deepEqual(read(text, {}).names, ['a']);
  assert.match(read(text, { aliasesMax: 10 }).problems[0] ?? '', /aliases/);
});

test('a text that aliases would make too long is refused', () => {
  const text = `${pod('a')}spec:\n  a: &a ${'x'.repeat(1_000)}\n  b: [*a, *a, *a]\n`;
  assert.deepEqual(read(text, { expandedCharsMax: 5_000 }).names, ['a']);
  assert.match(read(text, { expandedCharsMax: 3_000 }).problems[0] ?? '', /3000 characters/);
});

test('a map of very many keys takes no longer than its length', () => {
  const keys = Array.from({ length: 20_000 }, (_, index) => `  k${index}: v\n`).join('');
  const start = process.cpuUsage();
  assert.deepEqual(read(`${pod('a')}data:\n${keys}`, {}).names, ['a']);
  assert.ok(process.cpuUsage(start).user < 6_000_000);
});

test('lines of all objects of a long list are found in one reading', () => {
  const count = 2_000;
  const items = Array.from(
    { length: count },
    (_, index) => `- ${pod(`A${index}`).trim().replaceAll('\n', '\n  ')}\n`,
  );
  const start = process.cpuUsage();
  const { problems } = read(`apiVersion: v1\nkind: List\nitems:\n${items.join('')}`, {});
  assert.equal(problems.length, count);
  assert.ok(process.cpuUsage(start).user < 10_000_000);
});

test('folders and files past their number, depth or size are reported', () => {
  const root = mkdtempSync(join(tmpdir(), 'heddle-limits-'));
  try {
    for (const name of ['a', 'b', 'c']) {
      mkdirSync(join(root, name));
      writeFileSync(join(root, name, 'x.yaml'), pod(name));
    }
    mkdirSync(join(root, 'a/deep'));
    const scan = (limits: Partial<FileLimits>) => {
      const { files, problems } = scanFolder(root, limited(limits));
      return [
        files.length,
        problems.map(({ source, message }) => `${source.slice(root.length)} ${message}`),
      ] as const;
    };
    assert.deepEqual(scan({}), [3, []]);
    assert.deepEqual(scan({ filesMax: 2 }), [
      2,
      ['/c/x.yaml more than 2 files: this one and later ones are not read'],
    ]);
    assert.deepEqual(scan({ foldersMax: 3 }), [
      1,
      ['/b more than 3 folders: this one and later ones are not read'],
    ]);
    assert.deepEqual(scan({ folderDepthMax: 1 }), [3, ['/a/deep folders nested more than 1 deep: not read']]);
    const file = { path: join(root, 'a/x.yaml'), sizeBytes: pod('a').length, signature: '' };
    const small = readManifest(file, limited({ fileBytesMax: 10 }));
    assert.match(
      'problem' in small ? small.problem.message : '',
      /10 at most: the file is not read; split it/,
    );
    writeFileSync(file.path, Buffer.concat([Buffer.from('a: 1\nb: '), Buffer.from([0xe4, 0x0a])]));
    const latin = readManifest(file, DEFAULT_FILE_LIMITS);
    assert.ok('problem' in latin);
    assert.deepEqual([latin.problem.line, /UTF-8/.test(latin.problem.message)], [2, true]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
