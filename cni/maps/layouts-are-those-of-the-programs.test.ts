import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Btf } from '../../test/support/btf.ts';
import * as constants from './constants.ts';
import { counterSlots, DROP } from './drops.ts';
import * as layouts from './layouts.ts';
import type { Struct } from './struct.ts';
import { RINGS, TABLES } from './tables.ts';

const read = (path: string) => readFileSync(new URL(path, import.meta.url));
const btf = new Btf(read('../bpf/objects/layout.o'));
const header = ['layout.h', 'layout_capture.h']
  .map((name) => read(`../bpf/include/${name}`).toString())
  .join('\n');
const structs: readonly Struct<unknown>[] = Object.values(layouts);

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

for (const layout of structs) {
  test(`struct ${layout.name} has the size and the fields that the compiler gave it`, () => {
    const compiled = btf.struct(layout.name);
    assert.ok(compiled, `layout.o has no struct ${layout.name}: npm run build:bpf`);
    const expected = compiled.members
      .filter(({ name }) => name !== 'pad')
      .map(({ name, offsetBytes, typeId }) => ({ name, offsetBytes, sizeBytes: btf.sizeOf(typeId) }));
    const ours = layout.fields.map((field) => ({ ...field, name: snake(field.name) }));
    assert.deepEqual(ours, expected);
    assert.equal(layout.sizeBytes, compiled.sizeBytes);
  });
}

test('every structure of the header is written here', () => {
  const declared = [...header.matchAll(/^struct (\w+) \{$/gm)].map(([, name]) => name);
  const known = new Set(structs.map(({ name }) => name));
  assert.deepEqual(
    declared.filter((name) => name !== 'address' && !known.has(name ?? '')),
    [],
  );
});

test('every map is known with its type, key, value and bound', () => {
  const ours = new Map<string, unknown>();
  for (const { name, type, key, value, entriesMax } of Object.values(TABLES)) {
    const bound = entriesMax === 0 ? {} : { max_entries: entriesMax };
    ours.set(name, { type, key: key.sizeBytes, value: value.sizeBytes, ...bound });
  }
  for (const { name, bytesMax } of Object.values(RINGS)) ours.set(name, { type: 27, max_entries: bytesMax });
  const theirs = new Map<string, unknown>();
  for (const [name, attributes] of btf.maps()) {
    const { map_flags: _flags, ...rest } = Object.fromEntries(attributes);
    theirs.set(name, rest);
  }
  assert.deepEqual(ours, theirs);
});

/** `#define NAME value` of the header, where the value is a number. */
function defines(): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const [, name = '', text = ''] of header.matchAll(/^#define (\w+) +(\([^)]*\)|\w+)/gm)) {
    const [, base = '', shift] = /^\(?(\d+)u?(?: << (\d+))?\)?$/.exec(text) ?? [];
    if (base !== '') found.set(name, (Number(base) << Number(shift ?? 0)) >>> 0);
  }
  return found;
}

test('every constant has the number of the header, and none is forgotten', () => {
  const groups = {
    NODE: constants.NODE,
    EP: constants.EP,
    IDENTITY: constants.IDENTITY,
    DIRECTION: constants.DIRECTION,
  };
  const more = { CONNECTION: constants.CONNECTION, SCOPE: constants.SCOPE, SERVICE: constants.SERVICE };
  const rest = { EXTERNAL: constants.EXTERNAL, POD: constants.POD, TAG: constants.TAG };
  const ours = new Map<string, number>([
    ['COUNTERS_MAX', constants.COUNTERS_MAX],
    ['REFUSALS_PER_S_MAX', constants.REFUSALS_PER_S_MAX],
  ]);
  for (const [group, members] of Object.entries({ ...groups, ...more, ...rest })) {
    for (const [name, number] of Object.entries(members)) ours.set(`${group}_${name}`, number);
  }
  for (const [name, { code }] of Object.entries(DROP)) ours.set(`DROP_${name}`, code);
  assert.deepEqual([...ours].toSorted(), [...defines()].toSorted());
});

test('each outcome has a slot in each direction, within the bound of the map', () => {
  const slots = counterSlots();
  assert.equal(slots.size, (Object.keys(DROP).length + 1) * 2);
  assert.deepEqual(slots.get(0), { reason: undefined, direction: 0 });
  assert.deepEqual(slots.get(3), { reason: DROP.POLICY, direction: 1 });
  assert.ok(Math.max(...slots.keys()) < constants.COUNTERS_MAX);
});
