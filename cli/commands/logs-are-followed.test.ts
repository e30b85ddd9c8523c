import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { seededRandom } from '../../common/random.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { MemoryNetwork } from '../../test/support/memory-net.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { CommandInput, parseCommandLine } from '../command-line.ts';
import type { CliContext } from '../context.ts';
import { LogFile } from '../local/log-file.ts';
import { processStartTime } from '../local/process-identity.ts';
import { makeStateDirectories, statePaths, writeMeshFile } from '../local/state-dir.ts';
import { logs } from './logs.ts';

leakCheck();

let root: string;
let clock: VirtualClock;
let log: LogFile;
let out: string;
let interrupt: () => void;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-logs-'));
  clock = new VirtualClock();
  out = '';
  interrupt = () => undefined;
  const paths = statePaths({}, 'default', root);
  makeStateDirectories(paths);
  // This very process stands for the supervisor.
  writeMeshFile(paths, {
    ...{
      name: 'default',
      pid: process.pid,
      startTime: processStartTime(process.pid) ?? '',
      network: 'loopback',
    },
    ...{ nodes: 1, manifests: root, dashboard: '', controlPlane: '', startedAt: '', phase: 'ready' },
  });
  log = new LogFile(join(root, 'logs', 'pods', 'shop_web-1', 'app.log'), 64);
  log.startRun();
});
afterEach(() => {
  log.close();
  rmSync(root, { recursive: true, force: true });
});

function run(...args: string[]): Promise<number> {
  const context: CliContext = {
    ...{
      env: {},
      cwd: '/',
      clock,
      random: seededRandom(1),
      dialer: new MemoryNetwork().dialer,
      node: '',
      nodeVersion: '',
    },
    ...{ terminal: false, colours: false, columns: 80, err: () => undefined, readStdin: async () => '' },
    out: (text) => {
      out += text;
    },
    onInterrupt: (task) => {
      interrupt = () => task(1);
      return () => undefined;
    },
  };
  const input = parseCommandLine(logs, [...args, '-n', 'shop', '--state-dir', root]);
  assert.ok(input instanceof CommandInput);
  return logs.run(input, context);
}
const write = (text: string) => log.write(Buffer.from(text));

test('all of the output is shown, or its end', async () => {
  write('one\ntwo\nthree\n');
  await run('web');
  assert.equal(out, 'one\ntwo\nthree\n');
  out = '';
  await run('web', '--tail', '2');
  assert.equal(out, 'two\nthree\n');
  out = '';
  await run('web', '--tail', '0');
  assert.equal(out, '');
});

test('what is written later follows, across a full file and a new run, until Ctrl-C', async () => {
  write('first\n');
  const followed = run('web', '-f');
  await settle();
  for (const text of ['second\n', 'x'.repeat(60), '\nafter the turn\n']) {
    write(text);
    await clock.advance(200);
  }
  log.startRun();
  write('a new run\n');
  await clock.advance(200);
  interrupt();
  await clock.advance(200);
  assert.equal(await followed, 0);
  assert.equal(out, `first\nsecond\n${'x'.repeat(60)}\nafter the turn\na new run\n`);
});

test('a letter whose bytes come apart is shown whole', async () => {
  const followed = run('web', '-f');
  await settle();
  const [high, low] = [Buffer.from('é').subarray(0, 1), Buffer.from('é').subarray(1)];
  log.write(high);
  await clock.advance(200);
  log.write(low);
  await clock.advance(200);
  interrupt();
  await clock.advance(200);
  await followed;
  assert.equal(out, 'é');
});

test('following ends with the pod', async () => {
  write('only\n');
  const followed = run('web', '-f');
  await settle();
  log.close();
  rmSync(join(root, 'logs', 'pods'), { recursive: true });
  await clock.advance(200);
  assert.equal(await followed, 0);
  assert.equal(out, 'only\n');
});

test('the run before is shown, and that there was none', async () => {
  await assert.rejects(run('web', '--previous'), /web has no previous run/);
  write('crashed\n');
  log.startRun();
  await run('web', '-p');
  assert.equal(out, 'crashed\n');
});

test('a name that means several pods, none, or leads elsewhere is refused', async () => {
  mkdirSync(join(root, 'logs', 'pods', 'shop_web-2'));
  await assert.rejects(run('web'), /"web" may be web-1, web-2/);
  await assert.rejects(run('wbe-1'), /no pod "wbe-1" in namespace shop has a log \(did you mean "web-1"\?\)/);
  await assert.rejects(run('../../etc'), { code: 'usage' });
  await assert.rejects(run('web-1', '-c', 'nope'), /has no container "nope" with a log; it has app/);
});
