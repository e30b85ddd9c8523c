import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../common/random.ts';
import { MemoryNetwork } from '../../test/support/memory-net.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { type DeploymentProgress, Progress } from './progress.ts';

function told(terminal: boolean, columns = 80) {
  const clock = new VirtualClock();
  let text = '';
  const progress = new Progress({
    ...{
      env: {},
      cwd: '/',
      clock,
      random: seededRandom(1),
      dialer: new MemoryNetwork().dialer,
      node: '',
      nodeVersion: '',
    },
    ...{ terminal, colours: false, columns, err: () => undefined, readStdin: async () => '' },
    out: (part) => {
      text += part;
    },
    onInterrupt: () => () => undefined,
  });
  return { progress, clock, text: () => text };
}
const deployment = (name: string, ready: number, wanted = 2, trouble?: string): DeploymentProgress => ({
  ...{ name, ready, wanted, trouble },
});
/** What a terminal shows in the end: carriage returns and erasures carried out. */
const screen = (text: string) => text.split('\n').map((line) => line.split('\r\u001b[K').at(-1) ?? '');

test('into a file goes a line for each thing that is done, and nothing that would be taken back', () => {
  const { progress, text } = told(false);
  progress.begin('control plane');
  progress.done('control plane');
  progress.update([deployment('shop/web', 0)]);
  progress.update([deployment('shop/web', 1)]);
  progress.update([deployment('shop/web', 2)]);
  progress.update([deployment('shop/web', 2)]);
  assert.equal(text(), '✓ control plane\n✓ deployment shop/web 2/2\n');
});

test('on a terminal the last line shows what is under way, and gives way to what is done', () => {
  const { progress, text } = told(true);
  progress.begin('control plane');
  assert.deepEqual(screen(text()), ['… control plane']);
  progress.done('control plane');
  progress.update([deployment('shop/web', 1), deployment('shop/api', 0)]);
  assert.deepEqual(screen(text()), ['✓ control plane', '… shop/web 1/2, shop/api 0/2']);
  progress.warn('something');
  assert.deepEqual(screen(text()), ['✓ control plane', '! something', '… shop/web 1/2, shop/api 0/2']);
  progress.end('mesh stopped');
  assert.deepEqual(screen(text()).slice(-2), ['mesh stopped', '']);
});

test('a line that would wrap is cut at the width of the terminal', () => {
  const { progress, text } = told(true, 20);
  progress.update(Array.from({ length: 9 }, (_, n) => deployment(`shop/service-${n}`, 0)));
  const [line = ''] = screen(text());
  assert.equal(line.length, 19);
  assert.match(line, /…$/);
});

test('a Deployment that loses a pod is told, and that it is whole again', () => {
  const { progress, text } = told(false);
  for (const ready of [2, 1, 2]) progress.update([deployment('shop/web', ready)]);
  assert.equal(text(), '✓ deployment shop/web 2/2\n! deployment shop/web 1/2\n✓ deployment shop/web 2/2\n');
});

test('a trouble is told once it lasts, once, and again after it was over', async () => {
  const { progress, clock, text } = told(false);
  const stuck = [deployment('shop/web', 0, 2, 'pod web-1: it crashed')];
  progress.update(stuck);
  await clock.advance(4_999);
  progress.update(stuck);
  assert.equal(text(), '', 'most troubles pass while a pod starts');
  await clock.advance(1);
  progress.update(stuck);
  progress.update(stuck);
  assert.equal(text(), '! shop/web: pod web-1: it crashed\n');
  progress.update([deployment('shop/web', 0)]);
  progress.update(stuck);
  await clock.advance(5_000);
  progress.update(stuck);
  assert.equal(text().split('\n').length, 3);
});
