import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, numberAt, textAt, textsAt } from '../kube/fields.ts';
import { objectKey } from '../kube/kinds.ts';
import { matchesLabels, selects } from '../kube/selector.ts';
import { podSpecOf } from '../local/pod-spec.ts';
import { portOf } from '../local/probes.ts';
import type { NetworkKind } from '../network/pod-network.ts';
import { isReady } from '../output/columns.ts';
import { type Facts, type Finding, ofKind, podName } from './findings.ts';

/** Services that lead nowhere, selectors that select nothing, ports that nobody has. */
export function checkServices(facts: Facts): readonly Finding[] {
  const pods = ofKind(facts, 'Pod').filter((pod) => pod.metadata.deletionTimestamp === undefined);
  return [
    ...ofKind(facts, 'Service').flatMap((service) => serviceTroubles(service, pods, facts)),
    ...ofKind(facts, 'Deployment').flatMap((deployment) => deploymentTroubles(deployment, facts)),
    ...['MTLSPolicy', 'AuthorizationPolicy'].flatMap((kind) =>
      ofKind(facts, kind).flatMap((policy) => policyTroubles(policy, pods, facts)),
    ),
  ];
}

function serviceTroubles(service: KubeObject, pods: readonly KubeObject[], facts: Facts): readonly Finding[] {
  const selector = textsAt(service.spec, 'selector');
  const unpublished = unpublishedPorts(service, facts);
  if (textAt(service.spec, 'type') === 'ExternalName' || Object.keys(selector).length === 0)
    return unpublished;
  const found = foundAt(service, 'service', facts);
  const here = pods.filter((pod) => sameNamespace(pod, service));
  const selected = here.filter((pod) => matchesLabels(selector, pod.metadata.labels ?? {}));
  if (selected.length === 0)
    return [
      {
        level: 'problem',
        ...found,
        message: `its selector ${pairs(selector)} selects no pod${nearMiss(selector, here)}`,
        remedy: 'change the selector, or the labels in the pod template',
      },
      ...unpublished,
    ];
  const mismatches = listAt(service.spec, 'ports').flatMap(
    (port) => portTrouble(port, selected, facts.network, found) ?? [],
  );
  const idle: Finding[] = selected.some(isReady)
    ? []
    : [
        {
          level: 'problem',
          ...found,
          message: `none of its ${selected.length} pods is ready: requests are answered 503 (no-endpoints)`,
          remedy: 'see to the pods above',
        },
      ];
  return [...mismatches, ...idle, ...unpublished];
}

function portTrouble(
  port: JsonValue,
  selected: readonly KubeObject[],
  network: NetworkKind,
  found: { about: string; namespace: string },
): Finding | undefined {
  const target = at(port, 'targetPort') ?? numberAt(port, 'port');
  // As in Kubernetes a pod listens wherever it likes; in loopback mode its sidecar does, on the ports that it knows.
  if (network === 'ebpf' && typeof target === 'number') return undefined;
  for (const pod of selected) {
    const spec = podSpecOf(pod);
    const ports = [...spec.init, ...spec.containers].flatMap((container) => container.ports);
    const number = portOf(target, ports);
    if (ports.some((one) => one.port === number)) continue;
    const has = ports
      .map((one) => (one.name === undefined ? String(one.port) : `${one.port} (${one.name})`))
      .join(', ');
    return {
      level: 'problem',
      ...found,
      message: `targetPort ${String(target)} of port ${numberAt(port, 'port')} is no containerPort of pod ${podName(pod)}, which has ${has || 'none'}`,
      remedy: 'change targetPort, or name the port in the container',
    };
  }
  return undefined;
}

function unpublishedPorts(service: KubeObject, facts: Facts): readonly Finding[] {
  if (textAt(service.spec, 'type') !== 'LoadBalancer') return [];
  const published = listAt(service.status, 'loadBalancer', 'ingress', 0, 'ports').length;
  const missing = listAt(service.spec, 'ports').length - published;
  if (missing <= 0) return [];
  return [
    {
      level: 'problem',
      ...foundAt(service, 'service', facts),
      message: `${missing} of its ports could not be published on 127.0.0.1`,
      remedy: 'free the port, or choose another in the manifest',
    },
  ];
}

function deploymentTroubles(deployment: KubeObject, facts: Facts): readonly Finding[] {
  const labels = textsAt(deployment.spec, 'template', 'metadata', 'labels');
  const selector = at(deployment.spec, 'selector');
  if (selector !== undefined && selects(selector, labels)) return [];
  return [
    {
      level: 'problem',
      ...foundAt(deployment, 'deployment', facts),
      message:
        selector === undefined
          ? 'has no selector: a cluster would refuse it'
          : 'its selector does not match the labels of its own template: a cluster would refuse it',
      remedy: "make spec.selector.matchLabels a part of the template's labels",
    },
  ];
}

function policyTroubles(policy: KubeObject, pods: readonly KubeObject[], facts: Facts): readonly Finding[] {
  const selector = at(policy.spec, 'selector');
  if (selector === undefined) return [];
  const here = pods.filter((pod) => sameNamespace(pod, policy));
  if (here.some((pod) => selects(selector, pod.metadata.labels ?? {}))) return [];
  const wanted = textsAt(selector, 'matchLabels');
  return [
    {
      level: 'warning',
      ...foundAt(policy, policy.kind, facts),
      message: `its selector ${pairs(wanted)} selects no pod${nearMiss(wanted, here)}`,
      remedy: 'change the selector, or delete the policy',
    },
  ];
}

/** `; pod shop/web-… has app=web`: a pod that one label alone keeps out. */
function nearMiss(selector: Readonly<Record<string, string>>, pods: readonly KubeObject[]): string {
  const keys = Object.keys(selector);
  const near = pods.find((pod) => {
    const labels = pod.metadata.labels ?? {};
    return (
      keys.filter((key) => labels[key] !== selector[key]).length === 1 && keys.some((key) => key in labels)
    );
  });
  if (near === undefined) return '';
  const labels = near.metadata.labels ?? {};
  const key = keys.find((one) => labels[one] !== selector[one]) ?? '';
  const value = labels[key];
  return `; pod ${near.metadata.name} has ${value === undefined ? `no ${key}` : `${key}=${value}`}`;
}

function foundAt(object: KubeObject, noun: string, facts: Facts) {
  const where = facts.origins.get(objectKey(object));
  return {
    about: `${noun} ${podName(object)}`,
    namespace: object.metadata.namespace ?? 'default',
    ...(where === undefined ? {} : { where }),
  };
}

function sameNamespace(left: KubeObject, right: KubeObject): boolean {
  return (left.metadata.namespace ?? 'default') === (right.metadata.namespace ?? 'default');
}

function pairs(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}
