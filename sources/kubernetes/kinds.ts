/** One kind of the API, as its paths name it. */
export interface KubeKind {
  /** `v1`, `discovery.k8s.io/v1`. */
  readonly apiVersion: string;
  readonly kind: string;
  /** In paths: `endpointslices`. */
  readonly plural: string;
  readonly namespaced: boolean;
}

function kind(apiVersion: string, name: string, plural: string, namespaced = true): KubeKind {
  return { apiVersion, kind: name, plural, namespaced };
}

const GATEWAY = 'gateway.networking.k8s.io';
const ADMISSION = 'admissionregistration.k8s.io/v1';

/** The kinds that Heddle reads or writes. */
export const KINDS = {
  namespace: kind('v1', 'Namespace', 'namespaces', false),
  node: kind('v1', 'Node', 'nodes', false),
  pod: kind('v1', 'Pod', 'pods'),
  service: kind('v1', 'Service', 'services'),
  serviceAccount: kind('v1', 'ServiceAccount', 'serviceaccounts'),
  configMap: kind('v1', 'ConfigMap', 'configmaps'),
  secret: kind('v1', 'Secret', 'secrets'),
  event: kind('events.k8s.io/v1', 'Event', 'events'),
  deployment: kind('apps/v1', 'Deployment', 'deployments'),
  daemonSet: kind('apps/v1', 'DaemonSet', 'daemonsets'),
  endpointSlice: kind('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices'),
  networkPolicy: kind('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies'),
  lease: kind('coordination.k8s.io/v1', 'Lease', 'leases'),
  tokenReview: kind('authentication.k8s.io/v1', 'TokenReview', 'tokenreviews', false),
  selfSubjectAccessReview: kind(
    'authorization.k8s.io/v1',
    'SelfSubjectAccessReview',
    'selfsubjectaccessreviews',
    false,
  ),
  subjectAccessReview: kind('authorization.k8s.io/v1', 'SubjectAccessReview', 'subjectaccessreviews', false),
  mutatingWebhook: kind(ADMISSION, 'MutatingWebhookConfiguration', 'mutatingwebhookconfigurations', false),
  customResourceDefinition: kind(
    'apiextensions.k8s.io/v1',
    'CustomResourceDefinition',
    'customresourcedefinitions',
    false,
  ),
  httpRoute: kind(`${GATEWAY}/v1`, 'HTTPRoute', 'httproutes'),
  grpcRoute: kind(`${GATEWAY}/v1`, 'GRPCRoute', 'grpcroutes'),
  tlsRoute: kind(`${GATEWAY}/v1`, 'TLSRoute', 'tlsroutes'),
  tcpRoute: kind(`${GATEWAY}/v1alpha2`, 'TCPRoute', 'tcproutes'),
  udpRoute: kind(`${GATEWAY}/v1alpha2`, 'UDPRoute', 'udproutes'),
  referenceGrant: kind(`${GATEWAY}/v1beta1`, 'ReferenceGrant', 'referencegrants'),
  trafficPolicy: kind('heddle.dev/v1alpha1', 'TrafficPolicy', 'trafficpolicies'),
  mtlsPolicy: kind('heddle.dev/v1alpha1', 'MTLSPolicy', 'mtlspolicies'),
  authorizationPolicy: kind('heddle.dev/v1alpha1', 'AuthorizationPolicy', 'authorizationpolicies'),
} as const satisfies Record<string, KubeKind>;

/** `/apis/apps/v1/namespaces/shop/deployments/cart/status`; all namespaces where none is given. */
export function pathOf(
  { apiVersion, plural, namespaced }: KubeKind,
  namespace: string | undefined,
  name?: string,
  subresource?: string,
): string {
  const root = apiVersion.includes('/') ? '/apis' : '/api';
  const within = namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  const object = name === undefined ? '' : `/${encodeURIComponent(name)}`;
  return `${root}/${apiVersion}${within}/${plural}${object}${subresource === undefined ? '' : `/${subresource}`}`;
}
