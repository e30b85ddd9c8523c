import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../../common/clock.ts';
import type { JsonObject } from '../../../common/json.ts';
import { webhookConfiguration } from '../../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../../model/objects.ts';
import {
  type CallOptions,
  connectKubernetes,
  type KubernetesClient,
} from '../../../sources/kubernetes/client.ts';
import { hasReason } from '../../../sources/kubernetes/errors.ts';
import { KINDS, type KubeKind } from '../../../sources/kubernetes/kinds.ts';
import { locateParts } from '../cluster/build.ts';
import { down } from '../cluster/down.ts';
import { ADDRESSES, cacheFolder, layoutOf } from '../cluster/layout.ts';
import { up } from '../cluster/up.ts';
import { enterNetns } from './enter-netns.ts';

/** An API server with its controllers and no nodes, and what a test of admission does with it. */
export interface AdmissionCluster {
  readonly kubeconfig: string;
  /** Of this process, as the API server reaches it. */
  readonly address: string;
  readonly client: KubernetesClient;
  /** What kubectl prints; rejects where it fails. `input` is its standard input. */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Creates it, or leaves it as it is where it is there already. */
  ensure(kind: KubeKind, object: JsonObject): Promise<void>;
  namespace(name: string, labels: Readonly<Record<string, string>>): Promise<void>;
  /** The object as admission would leave it, or the API server's refusal. */
  tried(kind: KubeKind, object: JsonObject, options?: CallOptions): Promise<KubeObject | string>;
  configure(revision: string, clientConfig: JsonObject): Promise<void>;
  close(): Promise<void>;
}

const run = promisify(execFile);
/** Of a test that is given a cluster: it stands on this machine's own loopback. */
const LOOPBACK = '127.0.0.1';

/**
 * Brings up an API server for one test file, and moves this process into the network namespace of the world, from where
 * either reaches the other. HEDDLE_TEST_KUBECONFIG names one that stands already, on this machine's loopback.
 */
export async function admissionCluster(): Promise<AdmissionCluster> {
  const given = process.env.HEDDLE_TEST_KUBECONFIG;
  if (given !== undefined) return clusterAt(given, LOOPBACK, async () => undefined);
  const layout = layoutOf(`admission-${process.pid}`, 0);
  const built = locateParts(cacheFolder(process.env));
  try {
    await up(layout, { built, images: [], owner: process.pid, report: () => undefined });
    const leave = enterNetns(layout.world);
    return await clusterAt(layout.kubeconfigInside, ADDRESSES.worldIp4, async () => {
      leave();
      await down(layout);
    });
  } catch (thrown) {
    await down(layout);
    throw thrown;
  }
}

async function clusterAt(
  kubeconfig: string,
  address: string,
  end: () => Promise<void>,
): Promise<AdmissionCluster> {
  const client = await connectKubernetes({ kubeconfig, context: undefined }, systemClock);
  const ensure = async (kind: KubeKind, object: JsonObject) => {
    try {
      await client.create(kind, object);
    } catch (thrown) {
      if (!hasReason(thrown, 'AlreadyExists')) throw thrown;
    }
  };
  return {
    kubeconfig,
    address,
    client,
    async kubectl(args, input = '') {
      const { kubernetes } = locateParts(cacheFolder(process.env)).folders;
      const binary = join(kubernetes, 'kubernetes');
      const started = run(binary, ['kubectl', '--kubeconfig', kubeconfig, ...args]);
      started.child.stdin?.end(input);
      return (await started).stdout;
    },
    ensure,
    async namespace(name, labels) {
      await ensure(KINDS.namespace, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
      await client.patch(KINDS.namespace, { name }, { type: 'merge', body: { metadata: { labels } } });
      // Without it a pod is refused; the controller that makes it takes a moment.
      await ensure(KINDS.serviceAccount, {
        ...{ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: name } },
      });
    },
    tried: (kind, object, options = { dryRun: true }) =>
      client.create(kind, object, options).catch((thrown: unknown) => {
        if (!(thrown instanceof Error)) throw thrown;
        return thrown.message;
      }),
    async configure(revision, clientConfig) {
      const configuration = webhookConfiguration(revision, clientConfig);
      const { name } = configuration.metadata as { readonly name: string };
      await client.delete(KINDS.mutatingWebhook, { name }).catch((thrown: unknown) => {
        if (!hasReason(thrown, 'NotFound')) throw thrown;
      });
      await client.create(KINDS.mutatingWebhook, configuration);
    },
    async close() {
      client.close();
      await end();
    },
  };
}
