import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonValue } from '../../common/json.ts';
import { applyJsonPatch, parsePointer, patchOperationsMax, sameJson, stableJson } from './json-patch.ts';

function patched(document: JsonValue, ...operations: JsonValue[]): JsonValue {
  const result = applyJsonPatch(document, operations);
  assert.ok(result.ok, result.ok ? '' : result.error.message);
  return result.value;
}

function refusal(document: JsonValue, ...operations: JsonValue[]): string {
  const result = applyJsonPatch(document, operations);
  return result.ok ? assert.fail('the patch was taken') : result.error.message;
}

const add = (path: string, value: JsonValue): JsonValue => ({ op: 'add', path, value });

test('add makes a member, replaces one, inserts into a list and appends to it', () => {
  assert.deepEqual(patched({ a: 1 }, add('/b', 2)), { a: 1, b: 2 });
  assert.deepEqual(patched({ a: 1 }, add('/a', 2)), { a: 2 });
  assert.deepEqual(patched({ l: [1, 3] }, add('/l/1', 2)), { l: [1, 2, 3] });
  assert.deepEqual(patched({ l: [1] }, add('/l/-', 2)), { l: [1, 2] });
  assert.deepEqual(patched({ l: [] }, add('/l/0', 1)), { l: [1] });
});

test('replace, remove and test need what they name', () => {
  assert.deepEqual(patched({ a: [1, 2] }, { op: 'replace', path: '/a/0', value: 9 }), { a: [9, 2] });
  assert.deepEqual(patched({ a: 1, b: 2 }, { op: 'remove', path: '/a' }), { b: 2 });
  assert.deepEqual(patched({ a: [1, 2, 3] }, { op: 'remove', path: '/a/1' }), { a: [1, 3] });
  assert.deepEqual(patched({ a: { x: 1, y: 2 } }, { op: 'test', path: '/a', value: { y: 2, x: 1 } }), {
    a: { x: 1, y: 2 },
  });
  assert.match(refusal({ a: 1 }, { op: 'replace', path: '/b', value: 1 }), /there is no "b"/);
  assert.match(refusal({ a: 1 }, { op: 'remove', path: '/b' }), /there is no "b"/);
  assert.match(refusal({ a: 1 }, { op: 'test', path: '/a', value: 2 }), /the value differs/);
});

test('pointers escape slashes and tildes, and an empty one is the whole document', () => {
  assert.deepEqual(patched({ m: {} }, add('/m/heddle.dev~1inject', 'x')), {
    m: { 'heddle.dev/inject': 'x' },
  });
  assert.deepEqual(patched({ m: {} }, add('/m/a~0b', 1)), { m: { 'a~b': 1 } });
  assert.deepEqual(patched({ m: {} }, add('/', 1)), { m: {}, '': 1 });
  assert.deepEqual(patched({ m: {} }, { op: 'replace', path: '', value: 7 }), 7);
  assert.equal(parsePointer('a/b'), undefined);
  assert.equal(parsePointer('/a~2'), undefined);
});

test('what is no operation, no path or no element is refused with its place', () => {
  assert.match(refusal({}, { path: '/a' }), /operation 0 \(no op \/a\)/);
  assert.match(refusal({}, { op: 'add', path: '/a' }), /needs a value/);
  assert.match(refusal({}, add('a', 1)), /not a JSON pointer/);
  assert.match(refusal({ l: [1] }, add('/l/5', 1)), /there is no element 5/);
  assert.match(refusal({ l: [1] }, add('/l/01', 1)), /there is no element 01/);
  assert.match(refusal({ a: 1 }, add('/a/b', 1)), /looked for in a plain value/);
  assert.match(refusal({ a: 1, b: 2 }, { op: 'copy', path: '/a', value: 1 }), /only add, replace, remove/);
  assert.match(refusal({ a: 1 }, { op: 'remove', path: '' }), /whole document/);
});

test('a patch that fails half-way leaves the document as it was', () => {
  const document = { a: { b: 1 }, l: [1] };
  const before = JSON.stringify(document);
  assert.match(
    refusal(document, add('/a/c', 2), add('/l/0', 0), { op: 'remove', path: '/x' }),
    /operation 2/,
  );
  assert.equal(JSON.stringify(document), before);
});

test('more operations than the limit are refused', () => {
  const many = (count: number) => Array.from({ length: count }, () => add('/a', 1));
  assert.ok(applyJsonPatch({}, many(patchOperationsMax)).ok);
  assert.match(refusal({}, ...many(patchOperationsMax + 1)), new RegExp(`more than ${patchOperationsMax}`));
});

test('members of a prototype are no members of the document', () => {
  assert.match(refusal({}, { op: 'remove', path: '/constructor' }), /there is no "constructor"/);
  assert.match(refusal({}, add('/__proto__/polluted', true)), /there is no "__proto__"/);
  assert.equal('polluted' in {}, false);
});

test('equal values have equal text, whatever the order of their members', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const shuffled = JSON.parse(JSON.stringify(value), (_key, entry) =>
        typeof entry === 'object' && entry !== null && !Array.isArray(entry)
          ? Object.fromEntries(Object.entries(entry).reverse())
          : entry,
      );
      assert.equal(stableJson(JSON.parse(JSON.stringify(value))), stableJson(shuffled));
    }),
  );
  assert.equal(sameJson(undefined, null), true);
  assert.equal(sameJson([1, 2], [2, 1]), false);
});
