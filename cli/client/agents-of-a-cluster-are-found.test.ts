import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AGENT_POD, DIAL_EXIT } from '../../common/agent-dial.ts';
import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { CommandFailed, type PodCommand } from '../../sources/kubernetes/exec.ts';
import { type AgentPodOptions, agentPod } from '../../test/support/kubernetes/installed.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { type Agent, allFailed, askEach } from './agents.ts';
import { clusterAgentError, clusterAgents, leadingPods } from './cluster-agents.ts';

leakCheck();

const { signal } = new AbortController();

function pod(name: string, node: string, options?: AgentPodOptions): KubeObject {
  return { apiVersion: 'v1', kind: 'Pod', ...agentPod(name, node, options) };
}

const PAIRS: readonly (readonly [string, AgentPodOptions, AgentPodOptions])[] = [
  ['runs, over one that does not yet', { ready: false }, { running: false, ready: false }],
  ['runs, although it ends', { ending: true }, { running: false, ready: false }],
  ['stays, over one that ends', {}, { ending: true }],
  ['is ready, over one that is starting', {}, { ready: false, createdAt: '2026-02-01T00:00:00Z' }],
  ['is newer, where both are ready', { createdAt: '2026-02-01T00:00:00Z' }, {}],
];
for (const [what, better, worse] of PAIRS)
  test(`of two pods on a node the one leads to its agent that ${what}`, () => {
    const pods = [pod('better', 'n1', better), pod('worse', 'n1', worse)];
    for (const order of [pods, pods.toReversed()])
      assert.equal(leadingPods(order).get('n1')?.metadata.name, 'better');
  });

test('a pod that was evicted is none, and one that waits for its node counts there', () => {
  const evicted = { ...pod('evicted', 'n1'), status: { phase: 'Failed' } };
  const waiting = {
    ...pod('waiting', 'n2', { running: false, ready: false }),
    spec: {
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n2'] }] }],
          },
        },
      },
    },
  };
  assert.deepEqual([...leadingPods([evicted, waiting]).keys()], ['n2']);
});

/** A cluster of these pods, and what was run in them. */
function cluster(pods: () => readonly KubeObject[], refuse: (pod: string) => HeddleError | undefined) {
  const ran: PodCommand[] = [];
  const looks = { count: 0 };
  const clock = new VirtualClock();
  const link = {
    client: {
      async list() {
        looks.count++;
        return { items: pods(), resourceVersion: '1', continue: undefined };
      },
    },
    async exec(command: PodCommand) {
      ran.push(command);
      throw refuse(command.pod) ?? new HeddleError('test', 'enough');
    },
    clock,
  };
  return { link, ran, looks, clock };
}

test('agents stand in the order of their nodes and share a look at the pods', async () => {
  const { link, ran, looks, clock } = cluster(
    () => ['b', 'a', 'c'].map((node) => pod(`on-${node}`, node)),
    () => undefined,
  );
  const agents = await clusterAgents(link);
  assert.deepEqual(
    agents.map(({ node }) => node),
    ['a', 'b', 'c'],
  );
  for (const agent of agents) await assert.rejects(agent.dial(signal), { code: 'test' });
  assert.equal(looks.count, 1);
  assert.deepEqual(ran[0], {
    ...{ namespace: 'heddle-system', pod: 'on-a' },
    ...{ container: AGENT_POD.container, command: AGENT_POD.command },
  });
  await clock.advance(10_000);
  await assert.rejects(agents[0]?.dial(signal) ?? Promise.resolve(), { code: 'test' });
  assert.equal(looks.count, 2);
});

test('a pod that went between two looks is looked for once more', async () => {
  let name = 'first';
  const { link, ran, looks } = cluster(
    () => [pod(name, 'a')],
    (gone) => (gone === 'first' ? new HeddleError('exec-gone', 'gone') : undefined),
  );
  const [agent] = await clusterAgents(link);
  name = 'second';
  await assert.rejects(agent?.dial(signal) ?? Promise.resolve(), { code: 'test' });
  assert.deepEqual(
    ran.map((command) => command.pod),
    ['first', 'second'],
  );
  assert.equal(looks.count, 2);
});

const AGENT = { node: 'n1', pod: 'p', dial: () => Promise.reject(new Error('unused')) };
const [NODE, PROGRAM] = AGENT_POD.command;
const ERRORS: readonly (readonly [string, unknown, string, RegExp])[] = [
  [
    'no agent at the socket',
    new CommandFailed('x', DIAL_EXIT.noAgent, 'connect ENOENT'),
    'unreachable',
    /doesn't run \(connect ENOENT\): kubectl logs p/,
  ],
  [
    'an image without the program',
    new CommandFailed('x', 1, `Error: Cannot find module '${PROGRAM}'`),
    'agent-old',
    /heddle upgrade/,
  ],
  [
    'an image without Node at that place',
    new CommandFailed('x', undefined, `exec: "${NODE}": stat ${NODE}: no such file or directory`),
    'agent-old',
    /heddle upgrade/,
  ],
  [
    'another module that is missing',
    new CommandFailed('x', 1, "Cannot find module 'y'"),
    'unreachable',
    /can't be asked/,
  ],
  ['a right that is missing', new HeddleError('exec-forbidden', 'no'), 'exec-forbidden', /agent of n1/],
  [
    'a lost way',
    new HeddleError('kubernetes-unreachable', 'no route'),
    'unreachable',
    /agent of n1.*no route/,
  ],
  ['anything else', new Error('socket hang up'), 'unreachable', /agent of n1 doesn't answer: socket hang up/],
];
for (const [what, thrown, code, message] of ERRORS)
  test(`${what} is told as ${code}, with the node`, () => {
    const error = clusterAgentError(AGENT, thrown);
    assert.equal(error.code, code);
    assert.match(error.message, message);
  });

test('many failures are one, with the first names and how many more; a missing right is said once', () => {
  const failures = Array.from({ length: 12 }, (_, index) => new HeddleError('unreachable', `n${index}`));
  assert.equal(allFailed(failures).message, 'n0; n1; n2; n3; n4; n5; n6; n7; n8; n9; and 2 more');
  assert.equal(allFailed(failures).code, 'unreachable');
  const forbidden = Array.from({ length: 12 }, () => new HeddleError('exec-forbidden', 'no right'));
  assert.equal(allFailed(forbidden).message, 'no right');
});

test('of many agents some are asked at once, and their answers keep the order', async () => {
  const agents = Array.from({ length: 100 }, (_, index): Agent => ({ node: `n${index}`, socket: '' }));
  const busy = { now: 0, most: 0 };
  const settled = await askEach(agents, async ({ node }) => {
    busy.most = Math.max(busy.most, ++busy.now);
    await new Promise((resolve) => setImmediate(resolve));
    busy.now--;
    if (node === 'n7') throw new Error('no');
    return node;
  });
  assert.equal(busy.most, 16);
  assert.deepEqual(
    settled.map((one) => (one.status === 'fulfilled' ? one.value : 'no')),
    agents.map(({ node }) => (node === 'n7' ? 'no' : node)),
  );
});
