import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { machineHost } from './host.ts';
import { cleanMade, Made } from './made.ts';

leakCheck();

let root: string;
let file: string;
const host = machineHost(systemClock, process.env.PATH ?? '');
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-made-'));
  file = join(root, 'network');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test('what is made is in the file until it is forgotten', () => {
  const made = new Made(file);
  made.add('netns', 'one');
  made.add('sysctl', '/proc/x', '0');
  made.add('netns', 'one');
  assert.equal(readFileSync(file, 'utf8'), 'netns one\nsysctl /proc/x 0\n');
  made.forget('netns', 'one');
  assert.equal(readFileSync(file, 'utf8'), 'sysctl /proc/x 0\n');
});

test('everything that the file names is taken away, and then the file', async () => {
  const made = new Made(file);
  const folder = join(root, 'run', 'mesh');
  mkdirSync(join(folder, 'node-1'), { recursive: true });
  const cgroup = join(root, 'cgroup', 'mesh');
  mkdirSync(join(cgroup, 'node-1', 'pod'), { recursive: true });
  const setting = join(root, 'ip_forward');
  writeFileSync(setting, '1');
  made.add('folder', folder);
  made.add('cgroup', cgroup);
  made.add('bpffs', join(root, 'gone'));
  made.add('netns', 'hdlt-h-nobody-made-this');
  made.add('link', 'hdlt-h-nolink');
  made.add('sysctl', setting, '0');
  assert.deepEqual(await cleanMade(host, file), []);
  assert.ok(!existsSync(folder) && !existsSync(cgroup) && !existsSync(file));
  assert.ok(!existsSync(join(root, 'run')), 'nor the folder above, once it is empty');
  assert.equal(readFileSync(setting, 'utf8').trim(), '0');
});

test('what can’t be taken away is told, and stays in the file', async () => {
  const made = new Made(file);
  const pinned = join(root, 'pinned');
  mkdirSync(pinned);
  writeFileSync(join(pinned, 'in the way'), '');
  made.add('bpffs', pinned);
  assert.deepEqual(await cleanMade(host, file), [`could not remove bpffs ${pinned}`]);
  assert.equal(readFileSync(file, 'utf8'), `bpffs ${pinned}\n`);
});

test('nothing was made, nothing is done', async () => {
  assert.deepEqual(await cleanMade(host, file), []);
});

test('a program that doesn’t end is ended, and one that isn’t there is told', async () => {
  const late = await host.run('sleep', ['300'], { timeoutMs: 50 });
  assert.equal(late.code, 124);
  const missing = await host.run('/nonexistent/program', []);
  assert.equal(missing.code, 127);
  assert.match(missing.err, /ENOENT/);
});
