import { SYSTEM_NAMESPACE, TRUST_BUNDLE_CONFIG_MAP } from '../../common/contracts.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { KubernetesClient } from '../../sources/kubernetes/client.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { KINDS, type KubeKind } from '../../sources/kubernetes/kinds.ts';

/** Objects in one answer of the API server. */
const PAGE_OBJECTS = 500;

/** What `heddle check` reads of an API server; undefined: we may not look. */
export interface InstallationFacts {
  readonly nowMs: number;
  /** Of this command. */
  readonly version: string;
  readonly deployments: readonly KubeObject[] | undefined;
  readonly daemonSets: readonly KubeObject[] | undefined;
  /** Pods of heddle-system. */
  readonly ownPods: readonly KubeObject[] | undefined;
  readonly nodes: readonly KubeObject[] | undefined;
  readonly webhooks: readonly KubeObject[] | undefined;
  /** ConfigMap heddle-trust-bundle of heddle-system; null: there is none. */
  readonly trustBundle: KubeObject | null | undefined;
  readonly namespaces: readonly KubeObject[] | undefined;
  /** Of the whole cluster. */
  readonly pods: readonly KubeObject[] | undefined;
}

type Client = Pick<KubernetesClient, 'get' | 'list'>;

/** Rejects as the client does where the API server can't be asked. */
export async function gatherInstallation(
  client: Client,
  nowMs: number,
  version: string,
): Promise<InstallationFacts> {
  const [deployments, daemonSets, ownPods, nodes, webhooks, trustBundle, namespaces, pods] =
    await Promise.all([
      listAll(client, KINDS.deployment, SYSTEM_NAMESPACE),
      listAll(client, KINDS.daemonSet, SYSTEM_NAMESPACE),
      listAll(client, KINDS.pod, SYSTEM_NAMESPACE),
      listAll(client, KINDS.node),
      listAll(client, KINDS.mutatingWebhook),
      trustBundleOf(client),
      listAll(client, KINDS.namespace),
      listAll(client, KINDS.pod),
    ]);
  return {
    ...{ nowMs, version, deployments, daemonSets, ownPods, nodes, webhooks, trustBundle, namespaces, pods },
  };
}

async function trustBundleOf(client: Client): Promise<KubeObject | null | undefined> {
  try {
    return await client.get(KINDS.configMap, { namespace: SYSTEM_NAMESPACE, name: TRUST_BUNDLE_CONFIG_MAP });
  } catch (thrown) {
    if (hasReason(thrown, 'NotFound')) return null;
    if (hasReason(thrown, 'Forbidden')) return undefined;
    throw thrown;
  }
}

/** Everything of a kind, page by page; undefined where we may not list it. */
export async function listAll(
  client: Pick<KubernetesClient, 'list'>,
  kind: KubeKind,
  namespace?: string,
): Promise<readonly KubeObject[] | undefined> {
  try {
    const items: KubeObject[] = [];
    let next: string | undefined;
    do {
      const page = await client.list(kind, { namespace, continue: next, limit: PAGE_OBJECTS });
      items.push(...page.items);
      next = page.continue;
    } while (next !== undefined);
    return items;
  } catch (thrown) {
    if (hasReason(thrown, 'Forbidden')) return undefined;
    throw thrown;
  }
}
