import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../../common/errors.ts';
import type { JsonObject } from '../../../common/json.ts';
import { DEMO_IMAGE } from '../../../scripts/lib/demo-image.ts';
import { eventually } from '../../support/wait.ts';
import type { KubernetesCluster } from './cluster.ts';

const FOLDER = fileURLToPath(new URL('load/', import.meta.url));
/** The longest that a call of the load may take, and some. */
const settledMs = 30_000;

/** The image with node, of which the load's programs and the demo's services are made, as an archive. */
export const DEMO_IMAGE_ARCHIVE = join(FOLDER, '../../../../dist/images/heddle-demo-shop.tar');

interface LoadCounts {
  readonly sent: number;
  readonly answered: number;
  readonly failed: number;
  readonly open: number;
  /** A line each: when, which kind of call, and what came instead of an answer. */
  readonly failures: readonly string[];
  /** Answers by the name that the server says: its pod's, or NAME's. */
  readonly byPod: Readonly<Record<string, number>>;
}

/** The programs that `serverOf` and `clientOf` run, in a namespace. */
export function programsOf(namespace: string): JsonObject {
  const data = Object.fromEntries(
    ['client.mjs', 'server.mjs'].map((name) => [name, readFileSync(join(FOLDER, name), 'utf8')]),
  );
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'programs', namespace }, data };
}

function container(name: string, program: string, env: Readonly<Record<string, string>>): JsonObject {
  return {
    ...{ name, image: DEMO_IMAGE, command: ['node', `/programs/${program}`] },
    env: Object.entries(env).map(([variable, value]) => ({ name: variable, value })),
    volumeMounts: [{ name: 'programs', mountPath: '/programs' }],
  };
}
const volumes = [{ name: 'programs', configMap: { name: 'programs' } }];

/** A Service with two replicas, on both nodes where that can be, that no one takes away at once. */
export function serverOf(namespace: string, name: string): readonly JsonObject[] {
  const labels = { app: name };
  const metadata = { name, namespace };
  const spread = { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' };
  const server = {
    ...container('server', 'server.mjs', { NAME: name }),
    ports: [{ name: 'http', containerPort: 8080 }],
    // The machine is shared: a second is nothing.
    readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1, timeoutSeconds: 10 },
  };
  return [
    {
      ...{ apiVersion: 'v1', kind: 'Service', metadata },
      spec: { selector: labels, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
    },
    {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            topologySpreadConstraints: [{ ...spread, labelSelector: { matchLabels: labels } }],
            containers: [server],
            volumes,
          },
        },
      },
    },
    {
      ...{ apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata },
      spec: { maxUnavailable: 1, selector: { matchLabels: labels } },
    },
  ];
}

/** A pod that calls `target` at a fixed rate until it is deleted. It says itself what became of each call. */
export class LoadClient {
  readonly #cluster: KubernetesCluster;
  readonly #place: { readonly namespace: string; readonly name: string; readonly container: string };

  constructor(cluster: KubernetesCluster, namespace: string, name: string) {
    this.#cluster = cluster;
    this.#place = { namespace, name, container: 'client' };
  }

  static pod(namespace: string, name: string, target: string, node: string, perSecond: number): JsonObject {
    return {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } },
      spec: {
        ...{ nodeName: node, terminationGracePeriodSeconds: 1, volumes },
        containers: [container('client', 'client.mjs', { TARGET: target, RATE: `${perSecond}` })],
      },
    };
  }

  async counts(): Promise<LoadCounts> {
    const script = "fetch('http://127.0.0.1:9090/').then((r) => r.text()).then(console.log)";
    return JSON.parse(await this.#cluster.exec(this.#place, ['node', '-e', script])) as LoadCounts;
  }

  /** Until every call that was under way has come to its end; then none of them all may have failed. */
  async assertNothingLost(): Promise<LoadCounts> {
    const { sent } = await this.counts();
    let now: LoadCounts | undefined;
    await eventually(
      async () => {
        now = await this.counts();
        return now.answered + now.failed >= sent;
      },
      { deadlineMs: settledMs, what: `${sent} calls are answered` },
    );
    if (now === undefined) throw new HeddleError('command', 'the load says nothing');
    assert.deepEqual(now.failures, []);
    assert.equal(now.failed, 0);
    return now;
  }
}
