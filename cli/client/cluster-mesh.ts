import type { Duplex } from 'node:stream';
import { PORTS, SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { type KubernetesClient, orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { type PodDialer, podDialer } from '../../sources/kubernetes/port-forward.ts';
import type { CliContext } from '../context.ts';
import { textsAt } from '../kube/fields.ts';
import { isReady } from '../output/columns.ts';
import { accessText, asUnreachable, connectCluster, type KubeAccess } from './kubernetes.ts';
import { type FetchAnswer, fetchText, type MeshApi } from './mesh.ts';

const SERVICE = 'heddle-control-plane';
/** What the dashboard is asked under, inside its pod. */
const DASHBOARD = `http://127.0.0.1:${PORTS.dashboard}`;

/** What reaching the control plane of a cluster takes. */
export interface ClusterLink {
  readonly client: Pick<KubernetesClient, 'get' | 'list'>;
  readonly dial: PodDialer;
}

/** A mesh on Kubernetes, its control plane reached by port-forward. */
export interface ClusterMesh extends MeshApi, ClusterLink {
  readonly kind: 'kubernetes';
  readonly client: KubernetesClient;
  readonly access: KubeAccess;
  close(): void;
}

/** Fails with code `unreachable` where the kubeconfig can't be used; the cluster isn't asked anything yet. */
export async function openClusterMesh(access: KubeAccess, context: CliContext): Promise<ClusterMesh> {
  const client = await connectCluster(access, context);
  try {
    const dial = await podDialer(access.kubeconfig, access.context, context.clock);
    return clusterMesh({ client, dial }, access);
  } catch (thrown) {
    client.close();
    throw asUnreachable(thrown);
  }
}

function clusterMesh(
  link: { readonly client: KubernetesClient; readonly dial: PodDialer },
  access: KubeAccess,
): ClusterMesh {
  const { client } = link;
  return {
    ...{ kind: 'kubernetes', access, ...link, where: `of ${accessText(access)}` },
    async ask(path, options) {
      const { stream } = await dialDashboard(link);
      return fetchThrough(stream, path, options);
    },
    close: () => client.close(),
  };
}

function fetchThrough(
  connection: Duplex,
  path: string,
  options: Parameters<MeshApi['ask']>[1],
): Promise<FetchAnswer> {
  return fetchText(`${DASHBOARD}${path}`, { ...options, connection }).catch(rejectUnreachable);
}

function rejectUnreachable(thrown: unknown): never {
  throw asUnreachable(thrown);
}

/** Each ready control plane by itself: what is connected to one is known to that one alone. */
export async function replicasOf(link: ClusterLink): Promise<readonly MeshApi[]> {
  return (await controlPlanePods(link)).map(({ metadata: { name: pod } }) => ({
    where: `in pod ${pod}`,
    async ask(path, options) {
      const target = { namespace: SYSTEM_NAMESPACE, pod, port: PORTS.dashboard };
      return fetchThrough(await link.dial(target).catch(rejectUnreachable), path, options);
    },
  }));
}

/** The control plane's ready pods. Fails with `unreachable` where Heddle isn't installed or none is ready. */
export async function controlPlanePods({
  client,
}: Pick<ClusterLink, 'client'>): Promise<readonly KubeObject[]> {
  let pods: readonly KubeObject[];
  try {
    const service = await orMissing(
      client.get(KINDS.service, { namespace: SYSTEM_NAMESPACE, name: SERVICE }),
    );
    if (service === undefined)
      throw new HeddleError(
        'unreachable',
        `this cluster has no Service ${SYSTEM_NAMESPACE}/${SERVICE}: Heddle is not installed; "heddle check --pre", then "heddle install"`,
      );
    const selector = textsAt(service.spec, 'selector');
    const labelSelector = Object.entries(selector)
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    ({ items: pods } = await client.list(KINDS.pod, { namespace: SYSTEM_NAMESPACE, labelSelector }));
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
  const ready = pods.filter((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined);
  if (ready.length > 0) return ready;
  throw new HeddleError(
    'unreachable',
    `no pod of ${SERVICE} is ready (${pods.length} there): kubectl get pods -n ${SYSTEM_NAMESPACE}; kubectl logs deployment/${SERVICE} -n ${SYSTEM_NAMESPACE}`,
  );
}

/** A connection to the dashboard's port of a control plane that takes it; `first` is tried before others. */
export async function dialDashboard(
  link: ClusterLink,
  first?: string,
): Promise<{ readonly pod: string; readonly stream: Duplex }> {
  const pods = await controlPlanePods(link);
  const names = pods.map(({ metadata }) => metadata.name).toSorted((a, b) => rank(a, first) - rank(b, first));
  const failures: string[] = [];
  for (const pod of names) {
    try {
      const target = { namespace: SYSTEM_NAMESPACE, pod, port: PORTS.dashboard };
      return { pod, stream: await link.dial(target) };
    } catch (thrown) {
      failures.push(messageOf(thrown));
    }
  }
  throw new HeddleError('unreachable', failures.join('; '));
}

function rank(name: string, first: string | undefined): number {
  return name === first ? 0 : 1;
}
