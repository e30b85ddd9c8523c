import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { silentLogger } from '../../common/log.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import type { SettingsSource } from '../source.ts';
import { EMPTY_FILE_SETTLE_MS, RESCAN_MS } from './limits.ts';
import { loadSettings, watchSettings } from './settings.ts';

leakCheck();

const STRICT = 'mtls: {mode: STRICT}\n';
let folder: string;
let file: string;
let clock: VirtualClock;
let source: SettingsSource;
let changes: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-settings-'));
  file = join(folder, 'mesh.yaml');
  clock = new VirtualClock();
  changes = 0;
});
afterEach(() => {
  source?.close();
  rmSync(folder, { recursive: true, force: true });
});

function open(text?: string): void {
  if (text !== undefined) writeFileSync(file, text);
  source = watchSettings({ file, clock, log: silentLogger, onChange: () => changes++ });
}
/** Long enough for a rescan to see what changed. */
const look = () => clock.advance(RESCAN_MS);
const mode = () => source.current().settings.mtlsMode;
const problem = () => source.current().problems[0];

test('without a file the defaults hold, and one that appears is read', async () => {
  open();
  assert.deepEqual(source.current(), { settings: DEFAULT_MESH_SETTINGS, problems: [] });
  writeFileSync(file, STRICT);
  await look();
  assert.equal(mode(), 'STRICT');
  assert.equal(changes, 1);
});

test('an edit is followed, also one that renames a new file over the old', async () => {
  open(STRICT);
  writeFileSync(file, 'mtls: {mode: DISABLE}\n');
  await look();
  assert.equal(mode(), 'DISABLE');
  writeFileSync(join(folder, '.next'), STRICT);
  renameSync(join(folder, '.next'), file);
  await look();
  assert.equal(mode(), 'STRICT');
  await look();
  assert.equal(changes, 2, 'what does not change is not told');
});

test('what can not be used keeps its last good value, and is reported with line and field', async () => {
  open(`${STRICT}drain: {grace: 5s}\n`);
  writeFileSync(file, 'mtls: {mode: MAYBE}\ndrain:\n  grace: 7s\n');
  await look();
  assert.equal(mode(), 'STRICT');
  assert.equal(source.current().settings.drainGraceMs, 7_000);
  assert.deepEqual([problem()?.source, problem()?.line, problem()?.field], [file, 1, 'mtls.mode']);
});

for (const [what, text, message] of [
  ['is half written', 'mtls: {mode: ST', /./],
  ['holds two documents', `${STRICT}---\n${STRICT}`, /one document/],
  ['is a list', '- mtls\n', /must be an object/],
  ['has a list for a block', 'mtls: [STRICT]\n', /mtls must be an object/],
] as const) {
  test(`a file that ${what} leaves the settings before it in force`, async () => {
    open(STRICT);
    writeFileSync(file, text);
    await look();
    assert.equal(mode(), 'STRICT');
    assert.equal(problem()?.severity, 'error');
    assert.match(problem()?.message ?? '', message);
    writeFileSync(file, 'mtls: {mode: DISABLE}\n');
    await look();
    assert.equal(mode(), 'DISABLE');
    assert.deepEqual(source.current().problems, []);
  });
}

test('bytes that are no text leave the settings before them in force', async () => {
  open(STRICT);
  writeFileSync(file, Buffer.from([0xff, 0xfe, 0x00]));
  await look();
  assert.equal(mode(), 'STRICT');
  assert.match(problem()?.message ?? '', /can't be read/);
});

test('a path that can not be followed is a problem, not the end', async () => {
  open(STRICT);
  rmSync(file);
  symlinkSync('mesh.yaml', file);
  await look();
  assert.equal(mode(), 'STRICT');
  assert.match(problem()?.message ?? '', /can't be read/);
  assert.match(loadSettings(file).problems[0]?.message ?? '', /can't be read/);
});

for (const [what, take] of [
  ['empty', () => truncateSync(file)],
  ['gone', () => rmSync(file)],
] as const) {
  test(`a file that is ${what} for a moment changes nothing; one that stays so gives the defaults`, async () => {
    open(STRICT);
    take();
    await clock.advance(EMPTY_FILE_SETTLE_MS - 1);
    assert.equal(mode(), 'STRICT', 'whoever edits it is about to write');
    writeFileSync(file, STRICT);
    await clock.advance(4 * RESCAN_MS);
    assert.equal(mode(), 'STRICT');
    take();
    await clock.advance(2 * RESCAN_MS);
    assert.equal(mode(), 'PERMISSIVE');
    assert.deepEqual(source.current().problems, []);
  });
}

test('once closed nothing is read any more', async () => {
  open(STRICT);
  source.close();
  writeFileSync(file, 'mtls: {mode: DISABLE}\n');
  await clock.advance(10 * RESCAN_MS);
  assert.equal(mode(), 'STRICT');
  assert.equal(changes, 0);
});
