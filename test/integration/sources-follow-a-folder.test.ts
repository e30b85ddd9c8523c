import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { watchFiles } from '../../sources/files/watch.ts';
import type { ObjectSource } from '../../sources/source.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

let folder: string;
let source: ObjectSource | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-sources-'));
});

afterEach(() => {
  source?.close();
  rmSync(folder, { recursive: true, force: true });
});

const service = (name: string, value = 1) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {value: ${value}}\n`;
const open = async (...directories: string[]) => {
  source = await watchFiles({ directories, clock: systemClock, log: silentLogger, onChange: () => {} });
  return source;
};
const held = (from: ObjectSource) =>
  from.current().objects.map(({ object }) => `${object.metadata.name}=${JSON.stringify(object.spec)}`);
const holds = (from: ObjectSource, ...wanted: string[]) =>
  eventually(() => JSON.stringify(held(from)) === JSON.stringify(wanted), {
    deadlineMs: 5_000,
    what: `the folder holds ${wanted}; it has ${held(from)}`,
  });

test('files made, changed, renamed over and removed are followed', async () => {
  writeFileSync(join(folder, 'a.yaml'), service('a'));
  const from = await open(folder);
  assert.deepEqual(held(from), ['a={"value":1}']);
  writeFileSync(join(folder, 'b.yaml'), service('b'));
  await holds(from, 'a={"value":1}', 'b={"value":1}');
  writeFileSync(join(folder, '.next'), service('a', 2));
  renameSync(join(folder, '.next'), join(folder, 'a.yaml'));
  await holds(from, 'a={"value":2}', 'b={"value":1}');
  mkdirSync(join(folder, 'deep/er'), { recursive: true });
  writeFileSync(join(folder, 'deep/er/c.yml'), service('c'));
  await holds(from, 'a={"value":2}', 'b={"value":1}', 'c={"value":1}');
  rmSync(join(folder, 'a.yaml'));
  await holds(from, 'b={"value":1}', 'c={"value":1}');
});

test('a half-written file leaves the last good state in force and is reported with file and line', async () => {
  const path = join(folder, 'a.yaml');
  writeFileSync(path, service('a'));
  const from = await open(folder);
  writeFileSync(path, 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {value: [1,\n');
  await eventually(() => from.current().problems.length === 1, {
    deadlineMs: 5_000,
    what: 'the problem is reported',
  });
  assert.equal(from.current().problems[0]?.source, path);
  assert.ok((from.current().problems[0]?.line ?? 0) >= 4);
  assert.deepEqual(held(from), ['a={"value":1}']);
  writeFileSync(path, service('a', 3));
  await holds(from, 'a={"value":3}');
  assert.deepEqual(from.current().problems, []);
});

test('a file that is empty for a moment keeps its objects; one that stays empty loses them', async () => {
  const path = join(folder, 'a.yaml');
  writeFileSync(path, service('a'));
  const from = await open(folder);
  truncateSync(path);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.deepEqual(held(from), ['a={"value":1}']);
  await holds(from);
});

test('a folder that appears later is picked up, backups and settings are not read', async () => {
  const later = join(folder, 'later');
  const from = await open(later);
  assert.match(from.current().problems[0]?.message ?? '', /can't be read/);
  mkdirSync(later);
  for (const name of ['a.yaml~', '.#a.yaml', '#a.yaml#', '.a.yaml.swp', 'mesh.yaml', 'notes.txt']) {
    writeFileSync(join(later, name), service('no'));
  }
  writeFileSync(join(later, 'a.yaml'), service('a'));
  await holds(from, 'a={"value":1}');
  assert.deepEqual(from.current().problems, []);
});

test('a mounted ConfigMap, which swaps a link, is followed', async () => {
  for (const [version, value] of [
    ['..v1', 1],
    ['..v2', 2],
  ] as const) {
    mkdirSync(join(folder, version));
    writeFileSync(join(folder, version, 'a.yaml'), service('a', value));
  }
  symlinkSync('..v1', join(folder, '..data'));
  symlinkSync('..data/a.yaml', join(folder, 'a.yaml'));
  const from = await open(folder);
  assert.deepEqual(held(from), ['a={"value":1}']);
  symlinkSync('..v2', join(folder, '..next'));
  renameSync(join(folder, '..next'), join(folder, '..data'));
  await holds(from, 'a={"value":2}');
});

test('a link that leads back does not trap the reader', async () => {
  symlinkSync('.', join(folder, 'loop'));
  writeFileSync(join(folder, 'a.yaml'), service('a'));
  const from = await open(folder);
  assert.deepEqual(
    from.current().problems.map(({ source: where, message }) => [where, message]),
    [[join(folder, 'loop'), 'this link leads back to a folder that it is in: not followed']],
  );
  assert.deepEqual(held(from), ['a={"value":1}']);
});

test('a folder that can not be read for a while keeps what it held', async () => {
  const [kept, other] = [join(folder, 'kept'), join(folder, 'other')];
  for (const [place, name] of [
    [kept, 'a'],
    [other, 'b'],
  ] as const) {
    mkdirSync(place);
    writeFileSync(join(place, `${name}.yaml`), service(name));
  }
  const from = await open(kept, other);
  renameSync(kept, join(folder, 'aside'));
  symlinkSync('kept', kept);
  await eventually(() => from.current().problems.length > 0, {
    deadlineMs: 5_000,
    what: 'the folder is reported',
  });
  writeFileSync(join(other, 'b.yaml'), service('b', 2));
  await holds(from, 'a={"value":1}', 'b={"value":2}');
  rmSync(kept);
  renameSync(join(folder, 'aside'), kept);
  writeFileSync(join(kept, 'a.yaml'), service('a', 3));
  await holds(from, 'a={"value":3}', 'b={"value":2}');
  assert.deepEqual(from.current().problems, []);
});

test('a file that can not be looked at is reported, and the rest is read', async () => {
  writeFileSync(join(folder, 'a.yaml'), service('a'));
  const from = await open(folder);
  symlinkSync('loop.yaml', join(folder, 'loop.yaml'));
  writeFileSync(join(folder, 'b.yaml'), service('b'));
  await holds(from, 'a={"value":1}', 'b={"value":1}');
  assert.match(from.current().problems[0]?.message ?? '', /can't be read/);
});
