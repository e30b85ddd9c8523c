import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fetchText } from '../../../cli/client/mesh.ts';
import type { UninstallReport } from '../../../common/pod-network.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { TestCluster, type TestNode } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';
import { Callers } from './callers.ts';

leakCheck();

const endedMs = 10_000;
const settledMs = 5_000;
/** What the node is made of, in words that don't change by themselves. */
const DUMPS: readonly (readonly string[])[] = [
  ['ip', '-d', 'link'],
  ['ip', 'addr'],
  ['ip', 'rule'],
  ['ip', '-6', 'rule'],
  ['ip', 'route', 'show', 'table', 'all'],
  ['ip', '-6', 'route', 'show', 'table', 'all'],
  ['ip', 'neigh', 'show', 'nud', 'permanent'],
  ['nft', 'list', 'ruleset'],
  ['tc', 'qdisc'],
  ['bpftool', 'net'],
  ['sysctl', '-a', '--pattern', '^net\\.'],
];

for (const mode of ['tunnel', 'direct'] as const)
  describe(`uninstall, mode ${mode}`, () => {
    let cluster: TestCluster;
    let node: TestNode;
    let before: ReadonlyMap<string, readonly string[]>;

    beforeEach(async () => {
      cluster = await TestCluster.start({ mode, agents: false });
      node = cluster.node(0);
      for (const folder of ['net.d', 'bin']) mkdirSync(join(node.state, '..', folder));
      await eventually(() => !runIn(node.netns, 'ip', 'addr').includes('tentative'), {
        ...{ deadlineMs: settledMs, what: "the kernel has tried the node's link-local address" },
      });
      before = dumps(node);
      for (const one of cluster.nodes) cluster.startAgent(one, one === node ? installing() : []);
      for (const one of cluster.nodes) await cluster.ready(one);
      assert.deepEqual(installed(), [['05-heddle.conflist'], ['heddle-cni', 'loopback']]);
    });
    afterEach(() => cluster?.close());

    function installing(): readonly string[] {
      const [conf, bin] = ['net.d', 'bin'].map((folder) => join(node.state, '..', folder));
      return ['--cni-conf-dir', conf ?? '', '--cni-bin-dir', bin ?? ''];
    }

    function installed(): readonly (readonly string[])[] {
      return ['net.d', 'bin'].map((folder) => readdirSync(join(node.state, '..', folder)));
    }

    function assertAsBefore(): void {
      for (const [command, lines] of dumps(node)) assert.deepEqual(lines, before.get(command), command);
      assert.equal(existsSync(node.pins), false);
      assert.equal(existsSync(node.state), false);
      assert.deepEqual(installed(), [[], []]);
      const attached = execFileSync('bpftool', ['cgroup', 'tree', node.cgroup], { encoding: 'utf8' });
      assert.doesNotMatch(attached, /connect4|sock_create|sock_ops/);
    }

    async function uninstall(query = ''): Promise<readonly [number, string]> {
      const { status, text } = await fetchText(`http://agent/uninstall${query}`, {
        socketPath: node.adminSocket,
        body: {},
      });
      return [status, text];
    }

    async function ended(): Promise<void> {
      await eventually(() => !existsSync(node.adminSocket), {
        deadlineMs: endedMs,
        what: 'the agent has ended',
      });
      await cluster.stopAgent(node);
    }

    it('asked at the admin socket, while pods are attached only by force', async () => {
      const pod = await cluster.addPod('web');
      const [refused, why] = await uninstall();
      assert.equal(refused, 409);
      assert.match(why, /default\/web/);
      const callers = new Callers(cluster);
      await callers.serve(pod, 'web', 8080);
      await (await callers.in(node)).run(`tcp("${pod.ip4}", 8080)`);
      await callers.stop();
      const [status, text] = await uninstall('?force=1');
      assert.equal(status, 200);
      const report = JSON.parse(text) as UninstallReport;
      assert.deepEqual(report.failed, []);
      assert.ok(report.removed.length > 10);
      await ended();
      assertAsBefore();
    });

    it('asked of the program itself, after the agent ended', async () => {
      const pod = await cluster.addPod('web');
      await cluster.deletePod(pod);
      await cluster.stopAgent(node, 'SIGKILL');
      const done = cluster.startAgent(node, [...installing(), '--uninstall']);
      await eventually(() => done.exitCode !== null, { deadlineMs: endedMs, what: 'the uninstall is done' });
      assert.equal(done.exitCode, 0, node.output);
      assertAsBefore();
    });
  });

function dumps({ netns }: TestNode): ReadonlyMap<string, readonly string[]> {
  return new Map(
    DUMPS.map(([command = '', ...words]) => {
      const text = runIn(netns, command, ...words);
      return [
        [command, ...words].join(' '),
        text
          .split('\n')
          .filter((line) => !volatile(line))
          .toSorted(),
      ];
    }),
  );
}

/** Counts of the kernel's own, which go up and down by themselves. */
function volatile(line: string): boolean {
  return /nf_conntrack_count|random\.|nf_conntrack_(max|buckets)/.test(line);
}
