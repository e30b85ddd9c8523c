import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifests } from './parse.ts';

const GOOD = 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n';

/** A text, the line and the words of its problem. */
const TABLE: readonly (readonly [name: string, text: string, line: number, words: RegExp])[] = [
  ['a bracket that is never closed', 'a: 1\nb: [1,\n  2\nc: 3\n', 4, /flow sequence/i],
  ['a quote that is never closed', 'a: 1\nb: "x\nc: 3\n', 2, /quote/],
  ['a tab for blanks', 'a:\n  b: 1\n\tc: 2\n', 3, /Tabs/],
  ['a key that breaks off', 'a: 1\nb:\n  c: 1\n  d', 4, /map values/],
  ['a mark of a merge', 'a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n', 2, /./],
  ['a list among fields', 'a: 1\n- b\n', 2, /./],
  ['a key that stands twice', 'a:\n  b: 1\n  c: 2\n  b: 3\n', 4, /key b stands here twice/],
  ['a key that stands twice in JSON', '{"a": 1,\n "b": {"c": 1,\n  "c": 2}}', 3, /key c stands here twice/],
  ['an unknown tag', 'a: 1\nb: !Ref x\n', 2, /!Ref/],
  ['an alias of nothing', 'a: 1\nb: *x\n', 2, /no anchor &x/],
  ['a number that is none', 'a: 1\nb: [1, .nan]\n', 2, /NaN/],
  ['bytes that JSON has not', 'a: 1\nb: !!binary aGVsbG8=\n', 2, /JSON|tag/i],
  ['brackets past all depth', `a: 1\nb: ${'['.repeat(200)}${']'.repeat(200)}\n`, 2, /100 levels/],
  ['an object that is a text', '# remark\n\njust a text\n', 3, /not a Kubernetes object/],
  ['no kind', '\n\napiVersion: v1\nmetadata: {name: a}\n', 3, /kind is missing/],
  ['a name with capitals', 'apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n  name: A\n', 5, /RFC 1123/],
  ['a Service with a dot', 'apiVersion: v1\nkind: Service\nmetadata: {name: a.b}\n', 3, /DNS label/],
  ['a Namespace with a dot', 'apiVersion: v1\nkind: Namespace\nmetadata: {name: a.b}\n', 3, /DNS label/],
  [
    'a label that is a number',
    'apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    x: w\n    z: 1\n',
    7,
    /quote numbers/,
  ],
  [
    'a slip in the metadata',
    'apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  lables: {x: w}\n',
    5,
    /metadata\.lables is not a known field/,
  ],
  ['a list without items', 'apiVersion: v1\nkind: List\n', 1, /items must be a list/],
  ['a list of a text', 'apiVersion: v1\nkind: List\nitems:\n- x\n', 4, /not a Kubernetes object/],
  [
    'an item without a name',
    'apiVersion: v1\nkind: List\nitems:\n- {kind: Pod,\n   apiVersion: v1}\n',
    4,
    /metadata is missing/,
  ],
];
for (const [name, text, line, words] of TABLE) {
  for (const [where, whole, shift] of [
    ['', text, 0],
    [' behind a good document', `${GOOD}---\n${text}`, 4],
    [' with line ends of Windows', text.replaceAll('\n', '\r\n'), 0],
    [' with a byte order mark', `\uFEFF${text}`, 0],
  ] as const) {
    test(`${name}${where} is reported at its line`, () => {
      const { problems } = parseManifests(whole, 'a.yaml');
      assert.equal(problems.length, 1, JSON.stringify(problems));
      assert.match(problems[0]?.message ?? '', words);
      assert.equal(problems[0]?.line, line + shift, JSON.stringify(problems));
    });
  }
}

test('fields of a list, of a merge and of JSON have their lines', () => {
  const lineIn = (text: string, path: readonly (string | number)[], which = 0) =>
    parseManifests(text, 'a').objects[which]?.origin.lineOf?.(path);
  const list = `apiVersion: v1\nkind: List\nitems:\n- ${GOOD.trim().replaceAll('\n', '\n  ')}\n- ${GOOD.trim().replaceAll('\n', '\n  ')}\n  spec:\n    a: 1\n`;
  assert.equal(lineIn(list, ['spec', 'a'], 1), 11);
  assert.equal(parseManifests(list, 'a').objects[1]?.origin.line, 7);
  const merge = `${GOOD}spec:\n  base: &b\n    x: 1\n  d:\n    <<: *b\n    z: 2\n`;
  assert.deepEqual(parseManifests(merge, 'a').objects[0]?.object.spec, { base: { x: 1 }, d: { x: 1, z: 2 } });
  assert.equal(lineIn(merge, ['spec', 'd', 'z']), 9);
  assert.equal(lineIn(merge, ['spec', 'd', 'x']), 7);
  assert.equal(
    lineIn('{"apiVersion":"v1",\n"kind":"Pod",\n"metadata":{\n"name":"a"}}', ['metadata', 'name']),
    4,
  );
});
