import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { injectorName } from '../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { KubernetesClient } from '../../sources/kubernetes/client.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';
import { at, listAt } from '../kube/fields.ts';
import { type InjectionFacts, readyEndpoints, type WebhookFacts } from './injection.ts';

type ListClient = Pick<KubernetesClient, 'get' | 'list'>;

const workload = (apiVersion: string, kind: string, plural: string): KubeKind => ({
  ...{ apiVersion, kind, plural, namespaced: true },
});
/** Kinds with a pod template. */
export const INJECTED_WORKLOADS: readonly KubeKind[] = [
  KINDS.deployment,
  workload('apps/v1', 'StatefulSet', 'statefulsets'),
  KINDS.daemonSet,
  workload('apps/v1', 'ReplicaSet', 'replicasets'),
  workload('batch/v1', 'Job', 'jobs'),
  workload('batch/v1', 'CronJob', 'cronjobs'),
];

/** What decides about sidecars in a namespace. Rejects as the client does. */
export async function clusterInjection(namespace: string, client: ListClient): Promise<InjectionFacts> {
  const own = await client.get(KINDS.namespace, { name: namespace });
  const lists = await Promise.all(
    [KINDS.pod, ...INJECTED_WORKLOADS].map(async (kind) => (await client.list(kind, { namespace })).items),
  );
  const [pods = [], ...workloads] = lists;
  return {
    namespace,
    labels: own.metadata.labels ?? {},
    pods,
    workloads: workloads.flat().filter((one) => !isOwned(one)),
    webhooks: await webhookFacts(client),
  };
}

/** Made by another workload, whose template says it all. */
function isOwned(object: KubeObject): boolean {
  const owners = listAt(object, 'metadata', 'ownerReferences');
  return owners.some((owner) => at(owner, 'controller') === true);
}

async function webhookFacts(client: ListClient): Promise<WebhookFacts> {
  const read = async (kind: KubeKind, namespace?: string) => {
    try {
      return (await client.list(kind, { namespace })).items;
    } catch (thrown) {
      if (!hasReason(thrown, 'Forbidden')) throw thrown;
      return undefined;
    }
  };
  const [configurations, slices] = await Promise.all([
    read(KINDS.mutatingWebhook),
    read(KINDS.endpointSlice, SYSTEM_NAMESPACE),
  ]);
  return {
    configurations,
    readyInjectors: (revision) =>
      slices === undefined ? undefined : readyEndpoints(slices, injectorName(revision)),
  };
}
