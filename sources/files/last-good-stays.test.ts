import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LastSound } from '../last-sound.ts';
import { Generations } from './generations.ts';
import { type FileContent, mergeContent, NO_CONTENT } from './last-good.ts';
import { overlay } from './overlay.ts';
import { parseDocuments, parseManifests } from './parse.ts';

const service = (name: string, extra = '') =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\n${extra}`;
const BROKEN = 'apiVersion: v1\nkind: [oops\n';

const read = (previous: FileContent, ...documents: string[]) =>
  mergeContent(previous, parseDocuments(documents.join('---\n'), 'a.yaml'));
const held = (content: FileContent) => content.documents.flat().map(({ object }) => object.metadata.name);

test('a document that breaks stays at its last good version; the others move on', () => {
  const before = read(NO_CONTENT, service('a'), service('b', 'spec: {x: 1}\n'), service('c'));
  const after = read(before, service('a', 'spec: {new: 1}\n'), BROKEN, service('c'));
  assert.deepEqual(held(after), ['a', 'b', 'c']);
  assert.deepEqual(after.documents.flat()[0]?.object.spec, { new: 1 });
  assert.deepEqual(after.documents.flat()[1]?.object.spec, { x: 1 });
  assert.equal(after.problems.length, 1);
});

test('a document that was mended is taken, and its problem is gone', () => {
  const broken = read(read(NO_CONTENT, service('a')), BROKEN);
  const mended = read(broken, service('a', 'spec: {z: 2}\n'));
  assert.deepEqual(mended.documents.flat()[0]?.object.spec, { z: 2 });
  assert.deepEqual(mended.problems, []);
});

test('a broken document that was never good contributes nothing', () => {
  assert.deepEqual(held(read(NO_CONTENT, service('a'), BROKEN)), ['a']);
});

test('a document put in front of a broken one does not double objects', () => {
  const before = read(NO_CONTENT, service('a'), service('b'));
  assert.deepEqual(held(read(before, service('new'), service('a'), BROKEN)), ['new', 'a', 'b']);
});

test('a document that is removed takes its object with it', () => {
  assert.deepEqual(held(read(read(NO_CONTENT, service('a'), service('b')), service('b'))), ['b']);
});

test('a file that breaks off keeps what followed, and lets go of what stood before', () => {
  const before = read(NO_CONTENT, service('a'), service('b'), service('c'), service('d'));
  assert.deepEqual(held(read(before, service('a'), BROKEN)), ['a', 'b', 'c', 'd']);
  assert.deepEqual(held(read(before, service('b'), BROKEN)), ['b', 'c', 'd']);
  assert.deepEqual(held(read(before, service('new'), service('a'), service('b'), BROKEN)), [
    'new',
    'a',
    'b',
    'c',
    'd',
  ]);
  assert.deepEqual(held(read(before, BROKEN)), ['a', 'b', 'c', 'd']);
});

test('a document broken in the middle keeps what stood between its neighbours only', () => {
  const before = read(NO_CONTENT, service('a'), service('b'), service('c'), service('d'));
  assert.deepEqual(held(read(before, service('a'), BROKEN, service('c'))), ['a', 'b', 'c']);
  assert.deepEqual(held(read(before, service('a'), BROKEN, service('d'))), ['a', 'b', 'c', 'd']);
  assert.deepEqual(held(read(before, service('a'), BROKEN, BROKEN, service('d'))), ['a', 'b', 'c', 'd']);
});

test('documents that changed places do not come twice', () => {
  const before = read(NO_CONTENT, service('a'), service('b'), service('c'));
  assert.deepEqual(held(read(before, service('c'), BROKEN, service('a'))), ['c', 'b', 'a']);
});

test('a list that is bad in one item keeps that item as it was', () => {
  const list = (...names: string[]) =>
    `apiVersion: v1\nkind: List\nitems:\n${names.map((name) => `- {apiVersion: v1, kind: Pod, metadata: {name: ${name}}}\n`).join('')}`;
  const before = read(NO_CONTENT, list('a', 'b'), list('c'));
  const after = read(before, list('a', 'B'), list('c'));
  assert.deepEqual(held(after), ['a', 'b', 'c']);
  assert.equal(after.problems.length, 1);
});

test('what broke keeps its last good version through further breaks', () => {
  const twice = read(
    read(read(NO_CONTENT, service('a'), service('b')), service('a'), BROKEN),
    BROKEN,
    BROKEN,
  );
  assert.deepEqual(held(twice), ['a', 'b']);
});

const objectsOf = (...documents: string[]) => parseManifests(documents.join('---\n'), 'f.yaml').objects;

test('a later folder overrides an earlier one, and can hide an object', () => {
  const { objects } = overlay([
    objectsOf(service('a', 'spec: {v: 1}\n'), service('b')),
    objectsOf(
      service('a', 'spec: {v: 2}\n'),
      'apiVersion: v1\nkind: Service\nmetadata: {name: b, annotations: {heddle.dev/deleted: "true"}}\n',
    ),
  ]);
  assert.deepEqual(
    objects.map(({ object }) => [object.metadata.name, object.spec]),
    [['a', { v: 2 }]],
  );
});

test('an object that stands twice in one folder is reported with both places, and the first is used', () => {
  const { objects, problems } = overlay([
    objectsOf(service('a', 'spec: {v: 1}\n'), service('a', 'spec: {v: 2}\n')),
  ]);
  assert.deepEqual(objects[0]?.object.spec, { v: 1 });
  assert.match(problems[0]?.message ?? '', /Service default\/a is already defined at f\.yaml:1/);
});

test('the generation counts changes of the spec only', () => {
  const generations = new Generations();
  const next = (...documents: string[]) =>
    generations.apply(objectsOf(...documents))[0]?.object.metadata.generation;
  assert.equal(next(service('a', 'spec: {v: 1}\n')), 1);
  assert.equal(next('apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: z}}\nspec: {v: 1}\n'), 1);
  assert.equal(next(service('a', 'spec: {v: 2}\n')), 2);
});

test('an object whose fields can not all be used carries its last version that could, until it is gone', () => {
  const memory = new LastSound();
  const policy = (mode: string) =>
    `apiVersion: heddle.dev/v1alpha1\nkind: MTLSPolicy\nmetadata: {name: m}\nspec: {mode: ${mode}}\n`;
  const after = (...documents: string[]) => memory.apply(objectsOf(...documents))[0];
  assert.equal(after(policy('STRIKT'))?.lastGood, undefined);
  assert.equal(after(policy('STRICT'))?.lastGood, undefined);
  for (let time = 0; time < 2; time++)
    assert.deepEqual(after(policy('STRIKT'))?.lastGood?.spec, { mode: 'STRICT' });
  assert.equal(after(policy('DISABLE'))?.lastGood, undefined);
  assert.deepEqual(after(policy('5'))?.lastGood?.spec, { mode: 'DISABLE' });
  after(service('a'));
  assert.equal(after(policy('5'))?.lastGood, undefined);
});
