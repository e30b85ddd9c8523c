import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { yamlText } from './dialect.ts';
import { parseManifests } from './parse.ts';

const names = (text: string) =>
  parseManifests(text, 'a.yaml').objects.map(({ object }) => `${object.kind}/${object.metadata.name}`);

const GOOD = 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\n';

test('a broken document leaves the others alone and is reported with its line', () => {
  const text = `${GOOD}---\napiVersion: v1\nkind: [oops\n---\n${GOOD.replace('{name: a}', '{name: b}')}`;
  const { objects, problems } = parseManifests(text, 'a.yaml');
  assert.deepEqual(
    objects.map(({ object }) => object.metadata.name),
    ['a', 'b'],
  );
  assert.equal(problems.length, 1);
  assert.equal(problems[0]?.source, 'a.yaml');
  assert.ok((problems[0]?.line ?? 0) >= 5 && (problems[0]?.line ?? 0) <= 7, `line ${problems[0]?.line}`);
});

test('an object knows the line of each of its fields', () => {
  const text = `# head\n\n---\n${GOOD}spec:\n  ports:\n  - port: 80\n  - port: nonsense\n`;
  const [one] = parseManifests(text, 'a.yaml').objects;
  assert.equal(one?.origin.line, 4);
  assert.equal(one?.origin.lineOf?.(['spec']), 7);
  assert.equal(one?.origin.lineOf?.(['spec', 'ports', 1, 'port']), 10);
  assert.equal(one?.origin.lineOf?.(['spec', 'ports', 1, 'absent', 'field']), 10);
});

test('objects of a List count, each with its line', () => {
  const text =
    'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: p}\n- {kind: Pod}\n';
  const { objects, problems } = parseManifests(text, 'a.yaml');
  assert.equal(objects[0]?.object.metadata.name, 'p');
  assert.equal(objects[0]?.origin.line, 4);
  assert.equal(problems[0]?.line, 7);
});

test('objects without a namespace are in default, cluster-scoped ones in none', () => {
  const { objects } = parseManifests(
    `${GOOD}---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, namespace: x}\n`,
    'a',
  );
  assert.equal(objects[0]?.object.metadata.namespace, 'default');
  assert.equal(objects[1]?.object.metadata.namespace, undefined);
});

test('what is not a Kubernetes object is refused with the field to blame', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['just text', /not a Kubernetes object/],
    ['- a\n- b', /not a Kubernetes object/],
    ['kind: Pod\nmetadata: {name: a}', /apiVersion/],
    ['apiVersion: v1\nmetadata: {name: a}', /kind/],
    ['apiVersion: v1\nkind: Pod', /metadata is missing/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {}', /metadata\.name/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: 5}', /quote names that are numbers/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: A_b}', /DNS subdomain/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: a.b}', /DNS label/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: true}}', /quote numbers and booleans/],
    ['apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: a}', /key kind stands here twice/],
    ['a: &a [1]\nb: *missing', /alias/i],
    [`apiVersion: ${'['.repeat(5000)}`, /./],
  ];
  for (const [text, message] of cases) {
    const { objects, problems } = parseManifests(text, 'a.yaml');
    assert.equal(objects.length, 0, text.slice(0, 60));
    assert.match(problems[0]?.message ?? '', message, text.slice(0, 60));
  }
});

test('values are what they are to kubectl', () => {
  const read: readonly (readonly [string, unknown])[] = [
    ...(['yes', 'Y', 'on', 'ON', 'True'] as const).map((text) => [text, true] as const),
    ...(['no', 'n', 'off', 'Off', 'FALSE'] as const).map((text) => [text, false] as const),
    ...([
      ['0755', 0o755],
      ['0o755', 0o755],
      ['-0_17', -0o17],
      ['0b1_1', 3],
      ['-0x1_F', -31],
      ['0X1f', 31],
    ] as const),
    ...([
      ['1_000', 1000],
      ['1_0.5', 10.5],
      ['1_0e2', 1000],
      ['08', 8],
      ['0_8', 8],
      ['+1__0', 10],
    ] as const),
    ...(['yES', 'oN', '22:22', '2024-01-01', '0xg', '1_a', '_1', '1.2.3', 'nope'] as const).map(
      (text) => [text, text] as const,
    ),
    ...([
      ['"yes"', 'yes'],
      ["'0755'", '0755'],
      ['!!str no', 'no'],
    ] as const),
  ];
  for (const [text, value] of read) {
    const [one] = parseManifests(`${GOOD}spec: {x: ${text}}\n`, 'a.yaml').objects;
    assert.deepEqual(one?.object.spec, { x: value }, text);
  }
  const [keys] = parseManifests(`${GOOD}data: {0755: a, 1_0: b, "on": c, true: d}\n`, 'a.yaml').objects;
  assert.deepEqual(keys?.object.data, { 493: 'a', 10: 'b', on: 'c', true: 'd' });
});

test('a key is the name of a field, also where a value of its letters is a boolean', () => {
  const text = `${GOOD}spec:\n  retry:\n    on: [reset]\n    no: {yes: 1, on: 2}\n`;
  const { objects, problems } = parseManifests(text, 'a.yaml');
  assert.deepEqual(objects[0]?.object.spec, { retry: { on: ['reset'], no: { yes: 1, on: 2 } } });
  assert.equal(objects[0]?.origin.lineOf?.(['spec', 'retry', 'on']), 6);
  assert.deepEqual(problems, []);
});

test('what is written is read as it was, by YAML of either age', () => {
  const words = [
    'yes',
    'n',
    'On',
    '0755',
    '1_000',
    '0b1',
    '-0x1F',
    '1_0.5',
    '0o17',
    '22:22',
    '~',
    '',
    '<<',
    '1e3',
  ];
  const data = Object.fromEntries(words.map((word) => [word, word]));
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data };
  const text = yamlText(object);
  assert.deepEqual(parseManifests(text, 'a.yaml').objects[0]?.object.data, data);
  for (const version of ['1.1', '1.2'] as const) assert.deepEqual(parse(text, { version }), object);
  fc.assert(
    fc.property(
      fc.string({ maxLength: 12, unit: fc.constantFrom(...'0123456789abefnostxyEFNOY_+-.:') }),
      (value) => {
        const [one] = parseManifests(yamlText({ ...object, data: { value } }), 'a.yaml').objects;
        assert.deepEqual(one?.object.data, { value });
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a bomb of aliases is refused', () => {
  let text = 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n';
  for (let level = 1; level < 12; level++)
    text += `a${level}: &a${level} [${`*a${level - 1}, `.repeat(9)}]\n`;
  const { objects, problems } = parseManifests(text, 'a.yaml');
  assert.equal(objects.length, 0);
  assert.match(problems[0]?.message ?? '', /alias/i);
});

test('JSON, comments, empty documents and document ends are read as YAML has them', () => {
  assert.deepEqual(names('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"}}'), ['Pod/j']);
  assert.deepEqual(names(`# only a comment\n---\n---\n${GOOD}...\n`), ['Service/a']);
  assert.deepEqual(names(`--- # remark\n${GOOD}`), ['Service/a']);
  assert.deepEqual(names(''), []);
});

test('no text makes the reader throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      parseManifests(text, 'a.yaml');
      parseManifests(`${GOOD}---\n${text}`, 'a.yaml');
    }),
    { numRuns: 500 },
  );
});
