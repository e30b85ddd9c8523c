import type { Finding } from '../check/findings.ts';
import { listAt, textAt } from '../kube/fields.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { checkDns, checkNetworks, checkNodes } from './pre-check-nodes.ts';
import { isAtLeast, unseen } from './told.ts';
import type { PlannedValues } from './values.ts';

/** Native sidecars are on from here on (KEP-753). */
const KUBERNETES_MIN = [1, 29] as const;
/** Of the Gateway API: the first whose experimental channel has what routes of the mesh use. */
const GATEWAY_MIN = [1, 5] as const;
const GATEWAY_KIND = 'httproutes.gateway.networking.k8s.io';
const HEDDLE_KINDS = ['trafficpolicies', 'mtlspolicies', 'authorizationpolicies'];

/** Webhooks that would put a second sidecar into pods. */
const OTHER_MESHES: readonly (readonly [RegExp, string])[] = [
  [/^istio-/, 'Istio'],
  [/^linkerd-proxy-injector/, 'Linkerd'],
  [/consul-connect-injector/, 'Consul'],
  [/^kuma-|kong-mesh/, 'Kuma'],
  [/^osm-webhook/, 'Open Service Mesh'],
];

/** Everything that stands in the way of an installation, or is good to know before it. */
export function preCheck(facts: ClusterFacts, planned: PlannedValues): readonly Finding[] {
  return [
    checkVersion(facts),
    ...checkRights(facts),
    ...checkGateway(facts),
    ...checkOwnKinds(facts),
    ...checkWebhooks(facts),
    ...checkNodes(facts, planned),
    ...checkNetworks(facts, planned),
    ...checkDns(facts, planned),
  ];
}

function checkVersion({ version }: ClusterFacts): Finding {
  const about = 'Kubernetes';
  const wanted = KUBERNETES_MIN.join('.');
  if (isAtLeast(version, KUBERNETES_MIN)) return { level: 'good', about, message: version };
  return {
    ...{ level: 'problem', about, message: `this is ${version}; sidecars need ${wanted} or newer` },
    remedy: `upgrade the cluster to ${wanted} or newer`,
  };
}

function checkRights({ denied }: ClusterFacts): readonly Finding[] {
  if (denied.length === 0)
    return [{ level: 'good', about: 'rights', message: 'all that an installation needs' }];
  return denied.map(({ verb, group, resource, namespace }) => ({
    level: 'problem',
    about: 'rights',
    message: `you may not ${verb} ${resource}${group === '' ? '' : `.${group}`}${namespace === undefined ? '' : ` in ${namespace}`}`,
    remedy: 'install as somebody bound to the ClusterRole cluster-admin',
  }));
}

function checkGateway({ kinds }: ClusterFacts): readonly Finding[] {
  const about = 'Gateway API';
  if (kinds === undefined) return [unseen(about, 'customresourcedefinitions')];
  const crd = kinds.find(({ metadata }) => metadata.name === GATEWAY_KIND);
  const wanted = `${GATEWAY_MIN.join('.')} or newer, experimental channel`;
  const remedy = `kubectl apply --server-side -f experimental-install.yaml of a Gateway API release, ${wanted}`;
  if (crd === undefined)
    return [
      { level: 'warning', about, message: 'its kinds are not installed: there can be no routes', remedy },
    ];
  const annotations = crd.metadata.annotations ?? {};
  const version = annotations['gateway.networking.k8s.io/bundle-version'] ?? 'of an unknown version';
  const channel = annotations['gateway.networking.k8s.io/channel'] ?? 'unknown';
  const found = `${version}, ${channel} channel`;
  if (!isAtLeast(version, GATEWAY_MIN))
    return [{ level: 'warning', about, message: `${found}; Heddle is made for ${wanted}`, remedy }];
  if (channel !== 'experimental')
    return [{ level: 'warning', about, message: `${found}: routes can't say how to retry`, remedy }];
  return [{ level: 'good', about, message: found }];
}

function checkOwnKinds({ kinds }: ClusterFacts): readonly Finding[] {
  const about = "Heddle's kinds";
  const own = (kinds ?? []).filter(({ metadata }) => metadata.name.endsWith('.heddle.dev'));
  const strange = own.filter(
    ({ spec }) => !listAt(spec, 'versions').some((version) => textAt(version, 'name') === 'v1alpha1'),
  );
  if (strange.length > 0)
    return [
      {
        ...{ level: 'problem', about },
        message: `${strange.map(({ metadata }) => metadata.name).join(', ')} without version v1alpha1: of another Heddle`,
        remedy:
          'use the heddle command of the version that is installed, or delete these kinds with all their objects',
      },
    ];
  const there = HEDDLE_KINDS.filter((plural) =>
    own.some(({ metadata }) => metadata.name === `${plural}.heddle.dev`),
  );
  const message =
    there.length === 0
      ? 'not there yet; the installation brings them'
      : `${there.join(', ')} are there; an installation brings them up to date`;
  return [{ level: 'good', about, message }];
}

function checkWebhooks({ webhooks }: ClusterFacts): readonly Finding[] {
  const about = 'webhooks';
  if (webhooks === undefined) return [unseen(about, 'mutatingwebhookconfigurations')];
  const found = webhooks.flatMap(({ metadata: { name } }): readonly Finding[] => {
    const mesh = OTHER_MESHES.find(([pattern]) => pattern.test(name))?.[1];
    if (mesh === undefined) return [];
    return [
      {
        ...{ level: 'warning', about },
        message: `${name} is of ${mesh}: a pod that both inject gets two sidecars, and no traffic`,
        remedy: `take ${mesh}'s label off a namespace before it gets Heddle's`,
      },
    ];
  });
  return found.length > 0 ? found : [{ level: 'good', about, message: 'no other mesh injects pods' }];
}
