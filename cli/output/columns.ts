import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, numberAt, textAt, textsAt } from '../kube/fields.ts';
import { formatAge } from './table.ts';

/** A column of a kind's table; wide ones show with `-o wide`. */
export interface Column {
  readonly title: string;
  readonly wide?: boolean;
  value(object: KubeObject, nowMs: number): string;
}

const NAME: Column = { title: 'NAME', value: (object) => object.metadata.name };
const AGE: Column = {
  title: 'AGE',
  value: (object, nowMs) => {
    // A file says nothing of an object's age: since when it is accepted stands for it.
    const accepted = textAt(conditionOf(object, 'Accepted'), 'lastTransitionTime');
    const created = Date.parse(object.metadata.creationTimestamp ?? accepted ?? '');
    return Number.isNaN(created) ? '<unknown>' : formatAge(nowMs - created);
  },
};

const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  Pod: [
    NAME,
    { title: 'READY', value: podReady },
    { title: 'STATUS', value: podStatus },
    { title: 'RESTARTS', value: (pod) => String(sum(podStatuses(pod), 'restartCount')) },
    AGE,
    { title: 'IP', wide: true, value: (pod) => textAt(pod.status, 'podIP') ?? '<none>' },
    { title: 'NODE', wide: true, value: (pod) => textAt(pod.spec, 'nodeName') ?? '<none>' },
  ],
  Service: [
    NAME,
    { title: 'TYPE', value: (service) => textAt(service.spec, 'type') ?? 'ClusterIP' },
    { title: 'CLUSTER-IP', value: (service) => textAt(service.spec, 'clusterIP') ?? '<none>' },
    { title: 'EXTERNAL-IP', value: externalAddress },
    { title: 'PORT(S)', value: servicePorts },
    AGE,
    { title: 'SELECTOR', wide: true, value: (service) => pairs(textsAt(service.spec, 'selector')) },
  ],
  Deployment: [
    NAME,
    {
      title: 'READY',
      value: (one) => `${numberAt(one.status, 'readyReplicas') ?? 0}/${numberAt(one.spec, 'replicas') ?? 1}`,
    },
    { title: 'UP-TO-DATE', value: (one) => String(numberAt(one.status, 'updatedReplicas') ?? 0) },
    { title: 'AVAILABLE', value: (one) => String(numberAt(one.status, 'availableReplicas') ?? 0) },
    AGE,
    { title: 'SELECTOR', wide: true, value: (one) => pairs(textsAt(one.spec, 'selector', 'matchLabels')) },
  ],
  Job: [
    NAME,
    { title: 'STATUS', value: (job) => textAt(job.status, 'conditions', 0, 'type') ?? 'Running' },
    { title: 'COMPLETIONS', value: (job) => `${numberAt(job.status, 'succeeded') ?? 0}/1` },
    AGE,
  ],
  Namespace: [
    NAME,
    { title: 'STATUS', value: () => 'Active' },
    AGE,
    { title: 'LABELS', wide: true, value: (one) => pairs(one.metadata.labels ?? {}) },
  ],
  EndpointSlice: [
    NAME,
    { title: 'ADDRESSTYPE', value: (slice) => textAt(slice, 'addressType') ?? '' },
    {
      title: 'PORTS',
      value: (slice) =>
        listAt(slice, 'ports')
          .map((port) => String(at(port, 'port')))
          .join(','),
    },
    {
      title: 'ENDPOINTS',
      value: (slice) =>
        listAt(slice, 'endpoints')
          .flatMap((entry) => listAt(entry, 'addresses'))
          .map(String)
          .join(','),
    },
  ],
  Node: [
    NAME,
    { title: 'STATUS', value: nodeStatus },
    AGE,
    { title: 'INTERNAL-IP', wide: true, value: (node) => nodeAddresses(node).join(',') || '<none>' },
    {
      title: 'POD-CIDRS',
      wide: true,
      value: (node) => listAt(node.spec, 'podCIDRs').map(String).join(',') || '<none>',
    },
  ],
  NetworkPolicy: [
    NAME,
    {
      title: 'POD-SELECTOR',
      value: (one) => pairs(textsAt(one.spec, 'podSelector', 'matchLabels')),
    },
    {
      title: 'TYPES',
      wide: true,
      value: (one) => listAt(one.spec, 'policyTypes').map(String).join(',') || 'Ingress',
    },
    AGE,
  ],
  ConfigMap: [NAME, { title: 'DATA', value: (map) => String(Object.keys(textsAt(map.data)).length) }, AGE],
  ServiceAccount: [NAME, AGE],
  HTTPRoute: [
    NAME,
    { title: 'HOSTNAMES', value: (route) => listAt(route.spec, 'hostnames').map(String).join(',') || '*' },
    {
      title: 'PARENTS',
      value: (route) =>
        listAt(route.spec, 'parentRefs')
          .map((parent) => textAt(parent, 'name') ?? '')
          .join(','),
    },
    { title: 'ACCEPTED', value: accepted },
    AGE,
  ],
};

const POLICY: readonly Column[] = [
  NAME,
  {
    title: 'TARGETS',
    value: (policy) =>
      listAt(policy.spec, 'targetRefs')
        .map((target) => `${textAt(target, 'kind')}/${textAt(target, 'name')}`)
        .join(',') || '<namespace>',
  },
  { title: 'ACCEPTED', value: accepted },
  AGE,
];

export function columnsOf(kind: string): readonly Column[] {
  if (kind === 'GRPCRoute') return COLUMNS.HTTPRoute ?? [NAME];
  return COLUMNS[kind] ?? (kind.endsWith('Policy') ? POLICY : [NAME, AGE]);
}

/** The answer of the first condition of that type at any parent. */
function conditionOf(object: KubeObject, type: string): JsonValue | undefined {
  const all = [object.status, ...listAt(object.status, 'parents'), ...listAt(object.status, 'ancestors')];
  const found = all
    .flatMap((holder) => listAt(holder, 'conditions'))
    .filter((entry) => textAt(entry, 'type') === type);
  return found.find((entry) => textAt(entry, 'status') === 'False') ?? found[0];
}

function accepted(object: KubeObject): string {
  return textAt(conditionOf(object, 'Accepted'), 'status') ?? 'Unknown';
}

function podStatuses(pod: KubeObject): readonly JsonValue[] {
  const sidecars = new Set(
    listAt(pod.spec, 'initContainers')
      .filter((container) => textAt(container, 'restartPolicy') === 'Always')
      .map((container) => textAt(container, 'name')),
  );
  const init = listAt(pod.status, 'initContainerStatuses').filter((status) =>
    sidecars.has(textAt(status, 'name')),
  );
  return [...init, ...listAt(pod.status, 'containerStatuses')];
}

function podReady(pod: KubeObject): string {
  const statuses = podStatuses(pod);
  return `${statuses.filter((status) => at(status, 'ready') === true).length}/${statuses.length}`;
}

export function isReady(pod: KubeObject): boolean {
  return listAt(pod.status, 'conditions').some(
    (entry) => textAt(entry, 'type') === 'Ready' && textAt(entry, 'status') === 'True',
  );
}

export function podStatus(pod: KubeObject): string {
  if (at(pod, 'metadata', 'deletionTimestamp') !== undefined) return 'Terminating';
  const phase = textAt(pod.status, 'phase') ?? 'Unknown';
  if (phase === 'Succeeded') return 'Completed';
  for (const status of [
    ...listAt(pod.status, 'initContainerStatuses'),
    ...listAt(pod.status, 'containerStatuses'),
  ]) {
    const waiting = textAt(status, 'state', 'waiting', 'reason');
    if (waiting !== undefined && !['PodInitializing', 'ContainerCreating'].includes(waiting)) return waiting;
  }
  return phase === 'Failed' ? 'Error' : phase;
}

function externalAddress(service: KubeObject): string {
  const ip = textAt(service.status, 'loadBalancer', 'ingress', 0, 'ip');
  return ip ?? (textAt(service.spec, 'type') === 'LoadBalancer' ? '<pending>' : '<none>');
}

function servicePorts(service: KubeObject): string {
  const published = listAt(service.status, 'loadBalancer', 'ingress', 0, 'ports');
  return listAt(service.spec, 'ports')
    .map((port, index) => {
      const outside = numberAt(published[index], 'port');
      const moved = outside !== undefined && outside !== numberAt(port, 'port') ? `:${outside}` : '';
      return `${numberAt(port, 'port')}${moved}/${textAt(port, 'protocol') ?? 'TCP'}`;
    })
    .join(',');
}

function pairs(texts: Readonly<Record<string, string>>): string {
  return (
    Object.entries(texts)
      .map(([key, value]) => `${key}=${value}`)
      .join(',') || '<none>'
  );
}

function sum(values: readonly JsonValue[], key: string): number {
  return values.reduce<number>((total, value) => total + (numberAt(value, key) ?? 0), 0);
}

function nodeStatus(node: KubeObject): string {
  const ready = listAt(node.status, 'conditions').find((condition) => textAt(condition, 'type') === 'Ready');
  return textAt(ready, 'status') === 'True' ? 'Ready' : 'NotReady';
}

function nodeAddresses(node: KubeObject): readonly string[] {
  return listAt(node.status, 'addresses').flatMap((address) =>
    textAt(address, 'type') === 'InternalIP' ? [textAt(address, 'address') ?? ''] : [],
  );
}
