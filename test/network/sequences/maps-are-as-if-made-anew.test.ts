import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it } from 'node:test';
import { openPinnedMap } from '../../../cni/kernel/libbpf.ts';
import { FILL_ORDER, type PlannedMap } from '../../../cni/maps/reconcile.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { TestCluster } from '../../support/network/cluster.ts';
import { eventually } from '../../support/wait.ts';
import { differencesOf, type Held } from './meaning.ts';
import { numbersOf, rebuilt } from './rebuild.ts';
import { FULL, objectOf, randomSteps, type Step } from './steps.ts';

leakCheck();

const SEEDS = [1, 2, 3, 4, 5, 6];
const stepsPerSeed = 100;
const stepsBetweenLooks = 4;
const settledMs = 15_000;

/** A cluster of one real node that is led through steps. */
class Sequence implements AsyncDisposable {
  readonly cluster: TestCluster;
  readonly #pods = new Map<string, KubeObject>();

  private constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  static async start(): Promise<Sequence> {
    return new Sequence(await TestCluster.start({ nodes: 1 }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster.close();
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'pod':
        return this.#pod(step);
      case 'labels': {
        const known = this.#pods.get(step.name);
        if (known === undefined) return;
        const object = { ...known, metadata: { ...known.metadata, labels: step.labels } };
        this.#pods.set(step.name, object);
        return this.cluster.apply(object);
      }
      case 'object': {
        const object = objectOf(step.key, step.object ?? {});
        return step.object === undefined ? this.cluster.delete(object) : this.cluster.apply(object);
      }
      case 'restart': {
        const node = this.cluster.node(0);
        await this.cluster.stopAgent(node, step.signal);
        this.cluster.startAgent(node);
        return this.cluster.ready(node);
      }
      default:
        return step satisfies never;
    }
  }

  async #pod({ name, pod }: Step & { readonly kind: 'pod' }): Promise<void> {
    const known = [...this.cluster.pods.values()].find((one) => one.name === name);
    if (known !== undefined) await this.cluster.deletePod(known);
    this.#pods.delete(name);
    if (pod === undefined) return;
    const { annotations } = pod;
    const { ip4, ip6, uid, node } = await this.cluster.addPod(name, pod);
    const containers = [{ name: 'app', ports: [...pod.ports] }];
    const initContainers = pod.meshed ? [{ name: 'heddle-proxy', restartPolicy: 'Always' }] : [];
    const object: KubeObject = {
      ...{ apiVersion: 'v1', kind: 'Pod', spec: { nodeName: node.name, initContainers, containers } },
      metadata: { name, namespace: pod.namespace, uid, labels: pod.labels, annotations },
      status: { phase: 'Running', podIP: ip4, podIPs: [{ ip: ip4 }, { ip: ip6 }] },
    };
    this.#pods.set(name, object);
    this.cluster.apply(object);
  }

  /** Between the kernel's maps and those of a node made anew. */
  async differences(): Promise<readonly string[]> {
    const node = this.cluster.node(0);
    const wanted = await rebuilt(node, this.cluster.manifests);
    const kernel: Held = {
      numbers: numbersOf(node),
      entries: (map) => this.withMap(map, (one) => one.entries()),
    };
    return differencesOf(kernel, wanted);
  }

  withMap<T>(name: PlannedMap, use: (map: ReturnType<typeof openPinnedMap>) => T): T {
    using map = openPinnedMap(join(this.cluster.node(0).pins, 'maps', TABLES[name].name));
    return use(map);
  }

  async settled(what: string): Promise<void> {
    let differences: readonly string[] = [];
    try {
      await eventually(
        async () => {
          differences = await this.differences();
          return differences.length === 0;
        },
        { deadlineMs: settledMs, what },
      );
    } catch (thrown) {
      assert.deepEqual(differences.slice(0, 10), [], `${what}: ${differences.length} differences`);
      throw thrown;
    }
  }
}

for (const seed of SEEDS) {
  it(`after any of ${stepsPerSeed} steps the kernel's maps are as if the node were made anew: seed ${seed}`, async () => {
    await using sequence = await Sequence.start();
    for (const [index, step] of randomSteps(stepsPerSeed, seed).entries()) {
      await sequence.take(step);
      if ((index + 1) % stepsBetweenLooks === 0)
        await sequence.settled(`seed ${seed}, after step ${index}: ${JSON.stringify(step)}`);
    }
  });
}

it('an entry less in any of the maps shows', async () => {
  await using sequence = await Sequence.start();
  for (const step of FULL) await sequence.take(step);
  await sequence.settled('a cluster that needs every map');
  for (const name of FILL_ORDER) {
    const [key, value] = sequence.withMap(name, (map) => map.entries()[0]) ?? [];
    assert.ok(key !== undefined && value !== undefined, `${name} is empty`);
    sequence.withMap(name, (map) =>
      // The slot of an array can't be taken out.
      name === 'node' ? map.update(key, Buffer.alloc(value.length)) : map.delete(key),
    );
    const differences = await sequence.differences();
    // Backends show by the Services that count them.
    const shownBy = name === 'backend' ? 'service' : name;
    assert.ok(
      differences.some((one) => one.startsWith(`${shownBy} `)),
      `${name}: ${differences.join('; ')}`,
    );
    sequence.withMap(name, (map) => map.update(key, value));
    assert.deepEqual(await sequence.differences(), []);
  }
});
