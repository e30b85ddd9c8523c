import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { yamlText } from '../../sources/files/dialect.ts';
import { conditionsOf } from '../client/verdict.ts';
import { at, listAt, numberAt, textAt, textsAt } from '../kube/fields.ts';
import { matchesLabels } from '../kube/selector.ts';
import { isReady } from './columns.ts';

export interface DescriptionView {
  /** Objects in force, to find what belongs to the one that is described. */
  readonly objects: readonly KubeObject[];
  /** `file:line`, where a manifest holds it. */
  readonly origin: string | undefined;
  /** What is wrong with it, a line each. */
  readonly problems: readonly string[];
}

type Row = readonly [name: string, value: string];

/** An object as a person reads it: what it is, what belongs to it, its conditions and what is wrong with it. */
export function describeObject(object: KubeObject, view: DescriptionView): string {
  const { name, namespace, labels = {}, annotations = {}, creationTimestamp } = object.metadata;
  const rows: Row[] = [
    ['Name', name],
    ...(namespace === undefined ? [] : [['Namespace', namespace] as const]),
    ['Kind', `${object.kind} (${object.apiVersion})`],
    ...(view.origin === undefined ? [] : [['Manifest', view.origin] as const]),
    ...(creationTimestamp === undefined ? [] : [['Created', creationTimestamp] as const]),
    ...pairs('Labels', labels),
    ...pairs('Annotations', annotations),
    ...ownRows(object, view),
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  const text = rows.map(
    ([label, value]) => `${`${label}${label === '' ? '' : ':'}`.padEnd(width + 3)}${value}`,
  );
  return `${[...text, ...conditionLines(object), ...problemLines(view)].join('\n')}\n`;
}

function ownRows(object: KubeObject, view: DescriptionView): readonly Row[] {
  switch (object.kind) {
    case 'Pod':
      return podRows(object);
    case 'Service':
      return serviceRows(object, view.objects);
    case 'Deployment':
      return deploymentRows(object, view.objects);
    case 'ConfigMap':
      return pairs('Data', textsAt(object.data));
    default:
      return object.spec === undefined ? [] : indented('Spec', yamlText(object.spec));
  }
}

function podRows(pod: KubeObject): readonly Row[] {
  const statuses = [
    ...listAt(pod.status, 'initContainerStatuses'),
    ...listAt(pod.status, 'containerStatuses'),
  ];
  const message = textAt(pod.status, 'message');
  return [
    ['Node', textAt(pod.spec, 'nodeName') ?? '<none>'],
    ['IP', textAt(pod.status, 'podIP') ?? '<none>'],
    ['Phase', textAt(pod.status, 'phase') ?? 'Unknown'],
    ...(message === undefined ? [] : [['Reason', `${textAt(pod.status, 'reason')}: ${message}`] as const]),
    ...labelled(
      'Containers',
      statuses.map((status) => `${textAt(status, 'name')}: ${containerText(status)}`),
    ),
  ];
}

function containerText(status: JsonValue): string {
  const restarts = numberAt(status, 'restartCount') ?? 0;
  const ready = at(status, 'ready') === true ? 'ready' : 'not ready';
  const waiting = textAt(status, 'state', 'waiting', 'reason');
  const ended = numberAt(status, 'state', 'terminated', 'exitCode');
  const state = waiting ?? (ended === undefined ? 'Running' : `ended with ${ended}`);
  return `${state}, ${ready}, ${restarts} restart${restarts === 1 ? '' : 's'}`;
}

function serviceRows(service: KubeObject, objects: readonly KubeObject[]): readonly Row[] {
  const slices = objects.filter(
    (object) =>
      object.kind === 'EndpointSlice' &&
      object.metadata.namespace === service.metadata.namespace &&
      object.metadata.labels?.['kubernetes.io/service-name'] === service.metadata.name,
  );
  const endpoints = slices.flatMap((slice) =>
    listAt(slice, 'endpoints').map((endpoint) => {
      const ports = [...new Set(listAt(slice, 'ports').map((port) => numberAt(port, 'port')))];
      const state = at(endpoint, 'conditions', 'ready') === true ? '' : ', not ready';
      return `${textAt(endpoint, 'addresses', 0)}:${ports.join(',')} (${textAt(endpoint, 'targetRef', 'name')}${state})`;
    }),
  );
  const ports = listAt(service.spec, 'ports').map((port) => {
    const target = at(port, 'targetPort') ?? numberAt(port, 'port');
    return `${textAt(port, 'name') ?? '<unnamed>'} ${numberAt(port, 'port')} → ${String(target)}`;
  });
  const published = listAt(service.status, 'loadBalancer', 'ingress', 0, 'ports').map(
    (port) => `http://127.0.0.1:${numberAt(port, 'port')}`,
  );
  return [
    ['Type', textAt(service.spec, 'type') ?? 'ClusterIP'],
    ['Cluster IP', textAt(service.spec, 'clusterIP') ?? '<none>'],
    ...pairs('Selector', textsAt(service.spec, 'selector')),
    ...labelled('Ports', ports),
    ...labelled('Published', published),
    ...labelled('Endpoints', endpoints.length === 0 ? ['<none>'] : endpoints),
  ];
}

function deploymentRows(deployment: KubeObject, objects: readonly KubeObject[]): readonly Row[] {
  const selector = textsAt(deployment.spec, 'selector', 'matchLabels');
  const pods = objects.filter(
    (object) =>
      object.kind === 'Pod' &&
      object.metadata.namespace === deployment.metadata.namespace &&
      Object.keys(selector).length > 0 &&
      matchesLabels(selector, object.metadata.labels ?? {}),
  );
  const count = (key: string) => numberAt(deployment.status, key) ?? 0;
  return [
    ...pairs('Selector', selector),
    [
      'Replicas',
      `${numberAt(deployment.spec, 'replicas') ?? 1} wanted, ${count('updatedReplicas')} up to date, ${count('readyReplicas')} ready`,
    ],
    ...labelled(
      'Pods',
      pods.map((pod) => `${pod.metadata.name}${isReady(pod) ? '' : ' (not ready)'}`),
    ),
  ];
}

function conditionLines(object: KubeObject): readonly string[] {
  const conditions = conditionsOf(object.status);
  if (conditions.length === 0) return [];
  return [
    '',
    'Conditions:',
    ...conditions.map((condition) => {
      const [type, status] = [textAt(condition, 'type') ?? '', textAt(condition, 'status') ?? ''];
      const message = textAt(condition, 'message') ?? '';
      return `  ${type.padEnd(16)} ${status.padEnd(8)} ${message}`.trimEnd();
    }),
  ];
}

function problemLines({ problems }: DescriptionView): readonly string[] {
  return problems.length === 0 ? [] : ['', 'Problems:', ...problems.map((line) => `  ${line}`)];
}

function pairs(label: string, texts: Readonly<Record<string, string>>): readonly Row[] {
  return labelled(
    label,
    Object.entries(texts).map(([key, value]) => `${key}=${value}`),
  );
}

/** The label before the first line, nothing before the others. */
function labelled(label: string, lines: readonly string[]): readonly Row[] {
  return lines.map((line, index) => [index === 0 ? label : '', line] as const);
}

function indented(label: string, text: string): readonly Row[] {
  return labelled(label, text.trimEnd().split('\n'));
}
