import { isClusterScoped } from '../../sources/files/object-check.ts';

/** The kinds that the commands know by name, with kubectl's short names. */
export interface Kind {
  readonly kind: string;
  /** Empty for the core group. */
  readonly group: string;
  readonly plural: string;
  readonly singular: string;
  readonly short: readonly string[];
  readonly namespaced: boolean;
}

function kind(
  name: string,
  group: string,
  plural: string,
  short: readonly string[] = [],
  namespaced = true,
): Kind {
  return { kind: name, group, plural, singular: name.toLowerCase(), short, namespaced };
}

const GATEWAY_GROUP = 'gateway.networking.k8s.io';

export const KINDS: readonly Kind[] = [
  kind('Namespace', '', 'namespaces', ['ns'], false),
  kind('Node', '', 'nodes', ['no'], false),
  kind('Pod', '', 'pods', ['po']),
  kind('Service', '', 'services', ['svc']),
  kind('ConfigMap', '', 'configmaps', ['cm']),
  kind('ServiceAccount', '', 'serviceaccounts', ['sa']),
  kind('Deployment', 'apps', 'deployments', ['deploy']),
  kind('Job', 'batch', 'jobs'),
  kind('EndpointSlice', 'discovery.k8s.io', 'endpointslices'),
  kind('NetworkPolicy', 'networking.k8s.io', 'networkpolicies', ['netpol']),
  kind('HTTPRoute', GATEWAY_GROUP, 'httproutes'),
  kind('GRPCRoute', GATEWAY_GROUP, 'grpcroutes'),
  kind('ReferenceGrant', GATEWAY_GROUP, 'referencegrants', ['refgrant']),
  kind('TrafficPolicy', 'heddle.dev', 'trafficpolicies', ['tp']),
  kind('MTLSPolicy', 'heddle.dev', 'mtlspolicies', ['mtls']),
  kind('AuthorizationPolicy', 'heddle.dev', 'authorizationpolicies', ['authz']),
];

/** Kinds whose objects the control plane judges: they get conditions. */
export const JUDGED_KINDS: readonly string[] = [
  'HTTPRoute',
  'GRPCRoute',
  'TrafficPolicy',
  'MTLSPolicy',
  'AuthorizationPolicy',
];

/** What `get all` shows, in order. */
export const ALL_KINDS = ['Pod', 'Service', 'Deployment', 'Job'] as const;

/** The kind meant by `po`, `pod`, `pods` or `Pod`, also with its group as in `deployments.apps`. */
export function findKind(text: string): Kind | undefined {
  const wanted = text.toLowerCase();
  return KINDS.find((entry) =>
    [entry.plural, entry.singular, ...entry.short].some(
      (name) => wanted === name || wanted === `${name}.${entry.group}`,
    ),
  );
}

export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash < 0 ? '' : apiVersion.slice(0, slash);
}

export function isNamespaced(kindName: string): boolean {
  return !isClusterScoped(kindName);
}

/** `httproute.gateway.networking.k8s.io/catalog`, as kubectl names an object in its output. */
export function resourceName(object: {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}): string {
  const group = groupOf(object.apiVersion);
  return `${object.kind.toLowerCase()}${group === '' ? '' : `.${group}`}/${object.metadata.name}`;
}

/** The key of an object among all: `Service/shop/catalog`; an absent namespace is `default` where the kind has one. */
export function objectKey(object: {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}): string {
  const namespace = isNamespaced(object.kind) ? (object.metadata.namespace ?? 'default') : '';
  return `${object.kind}/${namespace}/${object.metadata.name}`;
}
