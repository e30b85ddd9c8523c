import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { AGENT_POD } from '../../common/agent-dial.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { putInstallation } from '../support/kubernetes/installed.ts';
import type { Execution } from '../support/kubernetes/pod-commands.ts';
import { leakCheck } from '../support/leak-check.ts';
import { AgentsCluster, NODES } from './agents/cluster.ts';

leakCheck();

let cluster: AgentsCluster;
beforeEach(async () => {
  cluster = await AgentsCluster.start();
});
afterEach(() => cluster.close());

test('every node says how it is, by the command of the agent in its pod', async () => {
  const { code, out, err } = await cluster.heddle('cni', 'status');
  assert.equal(code, 0, err);
  assert.match(out, /^worker-1 +tunnel +yes/m);
  assert.match(out, /^worker-2 +tunnel +yes/m);
  assert.match(err, /NetworkPolicy shop\/broken: spec\.ingress\[0\]\.from\[0\]\.ipBlock\.cidr/);
  const { container, command } = AGENT_POD;
  assert.deepEqual(
    cluster.commands.asked.toSorted((a, b) => (a.pod < b.pod ? -1 : 1)),
    NODES.map((node) => ({ pod: `agent-of-${node}`, container, command: [...command] })),
  );
});

test('one node is asked where it is named, and a slip is answered with what was meant', async () => {
  const one = await cluster.heddle('cni', 'capture', '--node', 'worker-2');
  assert.deepEqual([one.code, one.err], [0, '']);
  assert.match(one.out, /^worker-2 +shop\/web/m);
  assert.doesNotMatch(one.out, /worker-1/);
  assert.deepEqual(cluster.askedPods(), ['agent-of-worker-2']);
  const slip = await cluster.heddle('cni', 'capture', '--node', 'worker2');
  assert.equal(slip.code, 1);
  assert.match(slip.err, /no node "worker2" \(did you mean "worker-2"\?\); it has worker-1, worker-2/);
});

test('whether a connection is allowed is asked of all nodes, and nobody says yes for one that is silent', async () => {
  const ask = ['cni', 'policy', '--from', 'shop/web', '--to', 'shop/far', '--port', '8080'];
  const { code, out, err } = await cluster.heddle(...ask);
  assert.equal(code, 0, err);
  assert.match(out, /^allowed: shop\/web .* → shop\/far/);
  cluster.leads.set('agent-of-worker-2', { status: 500 });
  const undecided = await cluster.heddle(...ask);
  assert.deepEqual([undecided.code, undecided.out], [3, '']);
  assert.match(undecided.err, /agent of worker-2 can't be asked/);
  // Both ends of this one are judged by who answers.
  const known = await cluster.heddle(
    'cni',
    'policy',
    '--from',
    'shop/web',
    '--to',
    'shop/db',
    '--port',
    '8080',
  );
  assert.equal(known.code, 0);
  assert.match(known.err, /agent of worker-2 can't be asked/);
});

test('drops of all nodes are one list in order of time, with the node of each', async () => {
  cluster.drop('worker-1', { destinationPort: 3_333, ageMs: 80_000 });
  cluster.drop('worker-2', { destinationPort: 2_222, ageMs: 60_000 });
  cluster.drop('worker-1', { destinationPort: 1_111, ageMs: 20_000 });
  const { code, out, err } = await cluster.heddle('drops');
  assert.equal(code, 0, err);
  assert.match(out, /^TIME.* POLICIES +NODE\n/);
  assert.deepEqual(
    [...out.matchAll(/:(\d{4})\/TCP.* (worker-\d)$/gm)].map(([, port, node]) => [port, node]),
    [
      ['3333', 'worker-1'],
      ['2222', 'worker-2'],
      ['1111', 'worker-1'],
    ],
  );
  const last = await cluster.heddle('drops', '--tail', '1', '-o', 'json');
  const { items } = JSON.parse(last.out) as { items: { node: string; to: { port: number } }[] };
  assert.deepEqual(
    items.map(({ node, to }) => [node, to.port]),
    [['worker-1', 1_111]],
  );
});

const FAILURES: readonly (readonly [string, () => Execution, RegExp])[] = [
  [
    'has no agent',
    () => cluster.dial('nobody'),
    /agent of worker-2 doesn't run \(.*ENOENT.*kubectl logs agent-of-worker-2 -c agent/,
  ],
  [
    'has a kubelet that fails',
    () => ({ status: 502 }),
    /agent of worker-2 can't be asked: the API server answers 502/,
  ],
  [
    'has a container that is being made',
    () => ({ error: 'container not found ("agent")' }),
    /agent of worker-2 can't be asked \(container not found/,
  ],
  [
    'has an older image',
    () => ({ run: [process.execPath, '/heddle/cni/dial/main.mjs'] }),
    /agent of worker-2 .*image of pod agent-of-worker-2 is older than this command; "heddle upgrade"/,
  ],
];
for (const [what, lead, message] of FAILURES)
  test(`a node that ${what} is told by its name, and hides no other`, async () => {
    cluster.leads.set('agent-of-worker-2', lead());
    cluster.drop('worker-1', {});
    const [state, list] = await Promise.all([cluster.heddle('cni', 'status'), cluster.heddle('drops')]);
    for (const { code, out, err } of [state, list]) {
      assert.equal(code, 1);
      assert.match(out, /worker-1/);
      assert.match(err, message);
    }
    const alone = await cluster.heddle('cni', 'status', '--node', 'worker-2');
    assert.equal(alone.code, what === 'has an older image' ? 1 : 3);
    assert.match(alone.err, message);
  });

test('a right that is missing is named, once', async () => {
  for (const node of NODES) cluster.leads.set(`agent-of-${node}`, { status: 403 });
  for (const args of [['cni', 'status'], ['drops'], ['drops', '-f']]) {
    const { code, out, err } = await cluster.heddle(...args);
    assert.deepEqual([code, out], [1, '']);
    assert.match(err, /you need the right to get and create pods\/exec in namespace heddle-system/);
    assert.equal(err.match(/pods\/exec/g)?.length, 1, err);
  }
});

test('while one version follows another, the pod that stays is asked', async () => {
  cluster.put('old', 'worker-1', { status: 500 }, { ending: true });
  cluster.delete('agent-of-worker-1');
  cluster.put('new', 'worker-1', cluster.dial('worker-1'), { createdAt: '2026-01-03T00:00:00Z' });
  assert.equal((await cluster.heddle('cni', 'status', '--node', 'worker-1')).code, 0);
  assert.deepEqual(cluster.askedPods(), ['new']);
});

test('a pod without a running agent is named with what it is doing, and not asked', async () => {
  cluster.put('agent-of-worker-2', 'worker-2', cluster.dial('worker-2'), { ready: false, running: false });
  const { code, err } = await cluster.heddle('cni', 'status');
  assert.equal(code, 1);
  assert.match(
    err,
    /agent of worker-2 .*doesn't run \(pod agent-of-worker-2: Pending\): kubectl describe pod/,
  );
  assert.deepEqual(cluster.askedPods(), ['agent-of-worker-1']);
});

test('a cluster without agents says so, and its nodes are not uninstalled from outside', async () => {
  const uninstall = await cluster.heddle('cni', 'uninstall');
  assert.equal(uninstall.code, 2);
  assert.match(uninstall.err, /run: heddle uninstall --cni/);
  assert.equal(cluster.worldOf('worker-1').uninstalls, 0);
  for (const node of NODES) cluster.delete(`agent-of-${node}`);
  const { code, err } = await cluster.heddle('drops');
  assert.equal(code, 3);
  assert.match(err, /no pod of heddle-cni in heddle-system/);
  cluster.api.allow(KINDS.pod, 'forbidden');
  const forbidden = await cluster.heddle('drops');
  assert.equal(forbidden.code, 1);
  assert.match(forbidden.err, /may not list pods/);
});

test('check tells what agents say, also where no control plane does', async () => {
  putInstallation(cluster.api);
  cluster.delete('heddle-control-plane-1');
  const { code, out } = await cluster.heddle('check');
  assert.equal(code, 3);
  assert.match(out, /good +pod network: 2 of 2 agents ready/);
  assert.match(out, /problem NetworkPolicy shop\/broken: .*ipBlock\.cidr must be a CIDR/);
  cluster.leads.set('agent-of-worker-2', cluster.dial('nobody'));
  assert.match(
    (await cluster.heddle('check')).out,
    /problem agent worker-2: the agent of worker-2 doesn't run/,
  );
  cluster.commands.asked.splice(0);
  for (const node of NODES) cluster.leads.set(`agent-of-${node}`, { status: 403 });
  const unseen = await cluster.heddle('check');
  assert.match(unseen.out, /warning pod network: .*you may not get and create pods\/exec in heddle-system/);
  assert.match(unseen.out, /kubectl auth can-i create pods\/exec -n heddle-system/);
  assert.equal(cluster.commands.asked.length, 1, 'whoever may not ask one is not refused by all');
  for (const node of NODES)
    cluster.leads.set(`agent-of-${node}`, { run: [process.execPath, '/heddle/cni/dial/main.mjs'] });
  assert.match(
    (await cluster.heddle('check')).out,
    /warning pod network: 2 of 2 agents can't be asked: .* older/,
  );
});
