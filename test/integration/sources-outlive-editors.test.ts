import assert from 'node:assert/strict';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { type Clock, sleep, systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { watchFiles } from '../../sources/files/watch.ts';
import type { ObjectSource } from '../../sources/source.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

let folder: string;
let source: ObjectSource | undefined;
/** Every state that was announced. */
let seen: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-editors-'));
  seen = [];
  isTicking = true;
});

afterEach(() => {
  source?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** False where only events may tell of a change, and not the next look at everything. */
let isTicking = true;
const clock: Clock = {
  ...systemClock,
  every: (periodMs, task) => systemClock.every(periodMs, () => isTicking && task()),
};

const service = (name: string, value = 1) =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}}\nspec: {value: ${value}}\n`;
const file = (name = 'a.yaml') => join(folder, name);
const state = (from: ObjectSource) =>
  from
    .current()
    .objects.map(({ object }) => `${object.metadata.name}=${Object.values(Object(object.spec)).join()}`)
    .join(' ');
const open = async (...directories: string[]) => {
  const from = await watchFiles({
    ...{ directories, clock, log: silentLogger },
    onChange: () => seen.push(state(from)),
  });
  source = from;
  return from;
};
const holds = (from: ObjectSource, wanted: string) =>
  eventually(() => state(from) === wanted, {
    deadlineMs: 5_000,
    what: `the folder holds ${wanted}; it has ${state(from)}`,
  });

/** Ways to save a file that editors and tools have. */
const SAVES: Readonly<Record<string, (text: string) => void | Promise<void>>> = {
  'writes in place': (text) => writeFileSync(file(), text),
  'renames a new file over it': (text) => {
    writeFileSync(file('.a.yaml.swp'), text);
    renameSync(file('.a.yaml.swp'), file());
  },
  'moves the old one aside, then writes a new one': (text) => {
    writeFileSync(file('4913'), '');
    unlinkSync(file('4913'));
    renameSync(file(), file('a.yaml~'));
    writeFileSync(file(), text);
    unlinkSync(file('a.yaml~'));
  },
  'copies the old one aside, truncates it and writes it': (text) => {
    copyFileSync(file(), file('#a.yaml#'));
    writeFileSync(file(), '');
    appendFileSync(file(), text);
    unlinkSync(file('#a.yaml#'));
  },
  'moves the old one aside and takes its time to write a new one': async (text) => {
    renameSync(file(), file('a.yaml~'));
    await sleep(systemClock, 60);
    writeFileSync(file(), text);
  },
  'writes a temporary file beside it and links it': (text) => {
    writeFileSync(file('a.yaml.tmp'), text);
    unlinkSync(file());
    linkSync(file('a.yaml.tmp'), file());
    unlinkSync(file('a.yaml.tmp'));
  },
  'writes it in pieces, slowly': async (text) => {
    writeFileSync(file(), '');
    for (const piece of text.match(/.{1,40}/gs) ?? []) {
      appendFileSync(file(), piece);
      await sleep(systemClock, 15);
    }
  },
};
for (const [name, save] of Object.entries(SAVES)) {
  test(`an editor that ${name} is followed, and nobody sees a half of it`, async () => {
    writeFileSync(file(), `${service('a')}---\n${service('b')}`);
    const from = await open(folder);
    for (const value of [2, 3]) {
      await save(`${service('a', value)}---\n${service('b', value)}`);
      await holds(from, `a=${value} b=${value}`);
    }
    assert.deepEqual([...new Set(seen)], ['a=2 b=2', 'a=3 b=3']);
    assert.deepEqual(from.current().problems, []);
  });
}

test('two saves of the same length right after one another end with the second', async () => {
  writeFileSync(file(), service('a', 1));
  const from = await open(folder);
  for (let round = 0; round < 20; round++) {
    writeFileSync(file(), service('a', 2));
    await sleep(systemClock, round);
    writeFileSync(file(), service('a', 3));
    await holds(from, 'a=3');
  }
});

test('touching a file announces nothing', async () => {
  writeFileSync(file(), service('a'));
  const from = await open(folder);
  utimesSync(file(), 1_000, 1_000);
  chmodSync(file(), 0o600);
  writeFileSync(file('b.yaml'), service('b'));
  await holds(from, 'a=1 b=1');
  assert.deepEqual(seen, ['a=1 b=1']);
});

test('a folder that is gone keeps what it held, and is followed again when it is back', async () => {
  const inner = join(folder, 'manifests');
  mkdirSync(inner);
  writeFileSync(join(inner, 'a.yaml'), service('a'));
  const from = await open(inner);
  rmSync(inner, { recursive: true });
  await eventually(() => from.current().problems.length > 0, { deadlineMs: 5_000, what: 'it is reported' });
  assert.match(from.current().problems[0]?.message ?? '', /the folder can't be read/);
  assert.equal(state(from), 'a=1');
  mkdirSync(inner);
  writeFileSync(join(inner, 'b.yaml'), service('b'));
  await holds(from, 'b=1');
  assert.deepEqual(from.current().problems, []);
});

test('a folder that another one takes the place of is followed by its events', async () => {
  const inner = join(folder, 'manifests');
  for (const [name, value] of [
    ['manifests', 1],
    ['next', 2],
  ] as const) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'a.yaml'), service('a', value));
  }
  const from = await open(inner);
  renameSync(inner, join(folder, 'old'));
  renameSync(join(folder, 'next'), inner);
  await holds(from, 'a=2');
  isTicking = false;
  writeFileSync(join(inner, 'a.yaml'), service('a', 3));
  await holds(from, 'a=3');
});

test('a link to a release that moves on to the next one is followed', async () => {
  for (const value of [1, 2]) {
    mkdirSync(join(folder, `v${value}`));
    writeFileSync(join(folder, `v${value}`, 'a.yaml'), service('a', value));
  }
  symlinkSync('v1', join(folder, 'current'));
  const from = await open(join(folder, 'current'));
  assert.equal(state(from), 'a=1');
  symlinkSync('v2', join(folder, 'next'));
  renameSync(join(folder, 'next'), join(folder, 'current'));
  await holds(from, 'a=2');
});

test('an object that moves from one file to another is never gone and never there twice', async () => {
  writeFileSync(file('a.yaml'), `${service('a')}---\n${service('b')}`);
  const from = await open(folder);
  writeFileSync(file('z.yaml'), service('b'));
  writeFileSync(file('a.yaml'), service('a'));
  await eventually(() => from.current().problems.length === 0 && seen.length > 0, {
    deadlineMs: 5_000,
    what: 'b stands in one place',
  });
  assert.ok(
    seen.every((one) => one === 'a=1 b=1'),
    seen.join('; '),
  );
});

test('a mended document clears its problem, another one stays reported', async () => {
  writeFileSync(file('a.yaml'), 'kind: [');
  writeFileSync(file('b.yaml'), `${service('b')}---\nkind: {`);
  const from = await open(folder);
  assert.deepEqual(
    from.current().problems.map(({ source: where, line }) => [where, line]),
    [
      [file('a.yaml'), 1],
      [file('b.yaml'), 6],
    ],
  );
  writeFileSync(file('a.yaml'), service('a'));
  await holds(from, 'a=1 b=1');
  assert.deepEqual(
    from.current().problems.map(({ source: where }) => where),
    [file('b.yaml')],
  );
});
