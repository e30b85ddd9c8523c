import type { JsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { KubernetesClient } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { listAll } from '../check/cluster-facts.ts';
import { at, textAt } from '../kube/fields.ts';

/** Something that an installation has to be allowed to do. */
export interface Right {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  /** Of the whole cluster where none is given. */
  readonly namespace: string | undefined;
}

/** What the checks before an installation look at, gathered once. */
export interface ClusterFacts {
  /** `v1.34.4`. */
  readonly version: string;
  readonly denied: readonly Right[];
  readonly nodes: Listed;
  readonly daemonSets: Listed;
  readonly webhooks: Listed;
  readonly kinds: Listed;
  /** The Service `kubernetes`, which every cluster has at the first address of its range. */
  readonly apiService: KubeObject | undefined;
  readonly dnsServices: Listed;
}

/** Undefined: we may not look. */
export type Listed = readonly KubeObject[] | undefined;

export type FactsClient = Pick<KubernetesClient, 'read' | 'list' | 'create'>;

const SYSTEM = 'heddle-system';
const RBAC = 'rbac.authorization.k8s.io';

export const NEEDED_RIGHTS: readonly Right[] = [
  ...clusterWide('', ['namespaces']),
  ...clusterWide('apiextensions.k8s.io', ['customresourcedefinitions']),
  ...clusterWide(RBAC, ['clusterroles', 'clusterrolebindings']),
  ...clusterWide('admissionregistration.k8s.io', ['mutatingwebhookconfigurations']),
  ...within(SYSTEM, '', ['serviceaccounts', 'services', 'configmaps', 'secrets']),
  ...within(SYSTEM, 'apps', ['deployments', 'daemonsets']),
  ...within(SYSTEM, RBAC, ['roles', 'rolebindings']),
  ...within(SYSTEM, 'policy', ['poddisruptionbudgets']),
  ...within(SYSTEM, 'networking.k8s.io', ['networkpolicies']),
  ...within('kube-system', '', ['services']),
];

function clusterWide(group: string, resources: readonly string[]): readonly Right[] {
  return resources.map((resource) => ({ verb: 'create', group, resource, namespace: undefined }));
}

function within(namespace: string, group: string, resources: readonly string[]): readonly Right[] {
  return resources.map((resource) => ({ verb: 'create', group, resource, namespace }));
}

/** Asks the API server for everything. Rejects as the client does where it can't be reached or refuses to know us. */
export async function gatherClusterFacts(client: FactsClient): Promise<ClusterFacts> {
  const version = textAt(await client.read('/version'), 'gitVersion') ?? '';
  const allowed = await Promise.all(NEEDED_RIGHTS.map((right) => mayI(client, right)));
  const [nodes, daemonSets, webhooks, kinds, dnsServices, apiServices] = await Promise.all([
    listAll(client, KINDS.node),
    listAll(client, KINDS.daemonSet),
    listAll(client, KINDS.mutatingWebhook),
    listAll(client, KINDS.customResourceDefinition),
    listAll(client, KINDS.service, 'kube-system'),
    listAll(client, KINDS.service, 'default'),
  ]);
  return {
    ...{ version, nodes, daemonSets, webhooks, kinds },
    denied: NEEDED_RIGHTS.filter((_, index) => allowed[index] === false),
    apiService: apiServices?.find(({ metadata }) => metadata.name === 'kubernetes'),
    dnsServices: dnsServices?.filter((service) => servesDns(service)),
  };
}

function servesDns({ metadata, spec }: KubeObject): boolean {
  const ports = at(spec, 'ports');
  return (
    metadata.labels?.['k8s-app'] === 'kube-dns' ||
    (Array.isArray(ports) && ports.some((port) => at(port, 'port') === 53 && at(port, 'protocol') === 'UDP'))
  );
}

/** authorization.k8s.io/v1, SelfSubjectAccessReview. */
async function mayI(client: FactsClient, { verb, group, resource, namespace }: Right): Promise<boolean> {
  const { apiVersion, kind } = KINDS.selfSubjectAccessReview;
  const resourceAttributes = { verb, group, resource, ...(namespace === undefined ? {} : { namespace }) };
  const review: JsonObject = { apiVersion, kind, metadata: {}, spec: { resourceAttributes } };
  const { status } = await client.create(KINDS.selfSubjectAccessReview, review);
  return at(status, 'allowed') === true;
}
