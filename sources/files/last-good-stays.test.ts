import assert from 'node:assert/strict';
import { test } from 'node:test';
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
  const mended = read(broken, service('a', 'spec: {y: 2}\n'));
  assert.deepEqual(mended.documents.flat()[0]?.object.spec, { y: 2 });
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
  assert.equal(next('apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {v: 1}\n'), 1);
  assert.equal(next(service('a', 'spec: {v: 2}\n')), 2);
});
