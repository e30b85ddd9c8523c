import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { leakCheck } from '../../support/leak-check.ts';
import { TestCluster, type TestNode } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { DNS_ADDRESSES, NodeDns } from './node-dns.ts';

leakCheck();

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Far from the checkout: nothing but the bundles themselves is there to be found. */
const directory = mkdtempSync(join(tmpdir(), 'hdlt-bundles-'));
const bundle = (program: string) => join(directory, program, 'main.mjs');
let cluster: TestCluster;
let dns: NodeDns;

before(async () => {
  const built = spawnSync(process.execPath, ['scripts/build.ts', directory], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  cluster = await TestCluster.start({ nodes: 1, agentMain: bundle('cni/agent') });
  dns = await NodeDns.start(cluster, cluster.node(0), cluster.world.ip4, bundle('cni/dns'));
});

after(async () => {
  await dns?.stop();
  await cluster?.close();
  rmSync(directory, { recursive: true, force: true });
});

test('a bundled agent loads its programs and attaches pods that reach each other', async () => {
  const [one, other] = [await cluster.addPod('one'), await cluster.addPod('other')];
  for (const address of [other.ip4, other.ip6]) runIn(one.netns, 'ping', '-c1', '-W2', address);
});

test('a bundled DNS answers', () => {
  const asked = ['dig', '+short', '+timeout=2', `@${DNS_ADDRESSES.ip4}`, 'ns.dns.cluster.local'];
  const answered = execFileSync('nsenter', [`--net=${cluster.node(0).netns}`, ...asked], {
    encoding: 'utf8',
  });
  assert.ok(answered.split('\n').includes(DNS_ADDRESSES.ip4), answered);
});

test('a bundled agent takes less memory than one from source', async () => {
  const node = cluster.node(0);
  const bundled = privateKib(node);
  const source = await TestCluster.start({ nodes: 1 });
  try {
    const fromSource = privateKib(source.node(0));
    assert.ok(bundled < fromSource * 0.9, `${bundled} KiB against ${fromSource} KiB from source`);
  } finally {
    await source.close();
  }
});

/** Memory of the node's agent that it shares with nobody. */
function privateKib(node: TestNode): number {
  const pid = Number(readFileSync(join(node.state, '..', 'ready'), 'utf8'));
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return [...rollup.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kib]) => sum + Number(kib), 0);
}
