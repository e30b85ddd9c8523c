import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { leakCheck } from '../support/leak-check.ts';
import { ip } from '../support/network/commands.ts';
import { eventually } from '../support/wait.ts';
import { down } from './cluster/down.ts';
import { type ClusterLayout, layoutOf, ownerFile } from './cluster/layout.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { assertNothingLeft, processes } from './support/machine-state.ts';

leakCheck();

const MAIN = fileURLToPath(new URL('./cluster/main.ts', import.meta.url));
const soonMs = 30_000;
const names = (name: string) => `t${process.pid}-${name}`;

after(() => assertNothingLeft(`t${process.pid}-`));

/** As from a shell. */
function command(...args: readonly string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, printed }));
  return { child, ended };
}

test('an API server without nodes stands, answers and goes, while another of the same addresses stands', async () => {
  const one = await KubernetesCluster.start({ nodes: 0 });
  try {
    const other = await KubernetesCluster.start({ nodes: 0 });
    try {
      await other.kubectl(['create', 'namespace', 'only-here']);
      assert.doesNotMatch(await one.kubectl(['get', 'namespaces', '--output=name']), /only-here/);
    } finally {
      await other.stop();
    }
    await assertNothingLeft(other.layout.name);
    assert.equal(await one.kubectl(['get', '--raw=/readyz']), 'ok');
  } finally {
    await one.stop();
  }
  await assertNothingLeft(one.layout.name);
});

test('a cluster whose node was killed, and of which half is gone, is removed as a whole one is', async () => {
  const { layout, ...cluster } = await start(names('killed'));
  const { first, prefix } = layout;
  process.kill(Number(readFileSync(join(first.home, 'init'), 'utf8')), 'SIGKILL');
  await eventually(() => processes().every(({ text }) => !text.includes(`/${prefix}/${first.name}`)), {
    ...{ deadlineMs: soonMs, what: 'the node ended with its first process' },
  });
  ip('netns', 'delete', `${prefix}-world`);
  assert.equal(await cluster.down(), true);
  await assertNothingLeft(layout.name);
  assert.equal(await cluster.down(), false, 'there is nothing more to remove');
});

test('what is left of an up that was killed half-way is named by the next up, and removed by down', async () => {
  const name = names('half');
  const layout = layoutOf(name, 0);
  const first = command('up', '--nodes', '0', '--name', name);
  await eventually(() => existsSync(layout.first.netns), { deadlineMs: soonMs, what: 'it has begun' });
  first.child.kill('SIGKILL');
  await first.ended;
  const again = await command('up', '--nodes', '0', '--name', name).ended;
  assert.equal(again.code, 1);
  assert.match(again.printed, new RegExp(`${name}.*run down first`));
  assert.match((await command('down', '--name', name).ended).printed, /is gone/);
  await assertNothingLeft(name);
});

test('a cluster of a test that was killed is removed by the next up', async () => {
  const { layout } = await start(names('forgotten'));
  const { pid } = spawnSync('true');
  writeFileSync(ownerFile(layout), String(pid));
  const next = await KubernetesCluster.start({ nodes: 0 });
  await next.stop();
  await assertNothingLeft(layout.name);
});

test('wrong usage says what is right', async () => {
  for (const [args, expected] of [
    [['up', '--name', '../etc'], /no name of a cluster/],
    [['up', '--nodes', '99'], /0 to 8 nodes/],
    [['sideways'], /usage:/],
    [['up', '--nodes', '0', '--name', names('x'), '--images', '/nowhere.tar'], /no archive \/nowhere\.tar/],
  ] as const) {
    const { code, printed } = await command(...args).ended;
    assert.equal(code, 1, printed);
    assert.match(printed, expected);
  }
});

async function start(name: string): Promise<{ readonly layout: ClusterLayout; down(): Promise<boolean> }> {
  const { code, printed } = await command('up', '--nodes', '0', '--name', name).ended;
  assert.equal(code, 0, printed);
  const layout = layoutOf(name, 0);
  return { layout, down: () => down(layout) };
}
