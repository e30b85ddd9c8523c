import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { type ClusterPod, TestCluster } from '../../support/network/cluster.ts';
import { eventually } from '../../support/wait.ts';
import { type Footprint, footprintOf, residentBytes } from './footprint.ts';

leakCheck();

const POD_COUNT = 1_000;
const podsAtOnce = 100;
/** Before the first look: what the agent keeps for good is there then. */
const warmUpPods = 200;
const quietMs = 20_000;
/** Of an agent's resident memory, a sixth of what it takes. Its heap may take that once by its own moods; a leak takes it again. */
const growthBytesMax = 32 * 1024 * 1024;
const looksMax = 3;

it(`after ${POD_COUNT} pods came and went, up to ${podsAtOnce} at a time, nothing of them is left`, async (t) => {
  const cluster = await TestCluster.start({ nodes: 1 });
  try {
    const node = cluster.node(0);
    const pid = Number(readFileSync(join(cluster.directory, node.name, 'ready'), 'utf8'));
    cluster.apply(POLICY, SERVICE);
    const atStart = await quiet(() => footprintOf(node, pid), cluster);
    let came = 0;
    const wave = async () => {
      const numbers = Array.from({ length: podsAtOnce }, () => came++);
      const pods = await Promise.all(numbers.map((number) => addPod(cluster, number)));
      const during = await footprintOf(node, pid);
      assert.equal(during.attached, podsAtOnce);
      assert.ok(during.devices.length >= podsAtOnce && during.pins.length >= podsAtOnce);
      await Promise.all(pods.map((pod) => cluster.deletePod(pod)));
    };
    while (came < warmUpPods) await wave();
    const before = await quiet(() => footprintOf(node, pid), cluster);
    let growthBytes = Number.POSITIVE_INFINITY;
    for (let looked = 0; looked < looksMax && growthBytes >= growthBytesMax; looked++) {
      const bytesBefore = residentBytes(pid);
      for (const last = came + POD_COUNT - warmUpPods; came < last; ) await wave();
      const end = await quiet(() => footprintOf(node, pid), cluster);
      assert.deepEqual(end, before);
      const { stateFiles, descriptors } = end;
      assert.deepEqual(end, { ...atStart, stateFiles, descriptors });
      growthBytes = residentBytes(pid) - bytesBefore;
      t.diagnostic(
        `the agent grew by ${Math.round(growthBytes / 1024)} kB to ${Math.round(residentBytes(pid) / 1024)} kB`,
      );
    }
    assert.ok(growthBytes < growthBytesMax, `the agent grew by ${growthBytes} bytes again`);
  } finally {
    await cluster.close();
  }
});

const POLICY = {
  ...{
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'own', namespace: 'default' },
  },
  spec: { podSelector: {}, ingress: [{ from: [{ podSelector: { matchLabels: { app: 'a1' } } }] }] },
};
const SERVICE = {
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'default' } },
  spec: { clusterIP: '10.96.1.1', ports: [{ port: 80 }] },
};

/** Every third is in the mesh, every fifth has a port at the node, and labels make identities and sets of their own. */
function addPod(cluster: TestCluster, number: number): Promise<ClusterPod> {
  return cluster.addPod(`pod-${number}`, {
    labels: { app: `a${number % 7}`, number: String(number) },
    meshed: number % 3 === 0,
    annotations: number % 3 === 0 ? { 'heddle.dev/skip-outbound-ports': '3306' } : {},
    ports: number % 5 === 0 ? [{ containerPort: 80, hostPort: 9000 + (number % podsAtOnce) }] : [],
  });
}

/** What holds once no pod is left and the agent knows it. */
async function quiet(look: () => Promise<Footprint>, cluster: TestCluster): Promise<Footprint> {
  let last = '';
  let found: Footprint | undefined;
  await eventually(
    async () => {
      found = await look();
      const text = JSON.stringify(found);
      const same = text === last;
      last = text;
      return (
        same &&
        cluster.pods.size === 0 &&
        found.attached === 0 &&
        found.entries.endpoint_map === RESTING_ENDPOINTS
      );
    },
    { deadlineMs: quietMs, what: 'the node is quiet after its last pod' },
  );
  if (found === undefined) throw new Error('nothing was looked at');
  return found;
}

/** The node's two addresses, and the two of DNS. */
const RESTING_ENDPOINTS = 4;
