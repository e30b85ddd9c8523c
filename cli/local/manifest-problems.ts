import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject, Problem, SourcedObject } from '../../model/objects.ts';
import { at, listAt } from '../kube/fields.ts';
import { groupOf, isNamespaced, KINDS } from '../kube/kinds.ts';
import type { NetworkKind } from '../network/pod-network.ts';
import { didYouMean } from '../suggest.ts';
import { misfits } from './unknown-fields.ts';

type Path = readonly (string | number)[];

const OUR_GROUPS: readonly string[] = ['heddle.dev', 'gateway.networking.k8s.io'];

/** Kinds of Kubernetes that manifests may hold and that have no effect here, with what that means. */
const WITHOUT_EFFECT: Readonly<Record<string, string>> = {
  StatefulSet: 'the local mesh runs Deployments, Jobs and Pods only',
  DaemonSet: 'the local mesh runs Deployments, Jobs and Pods only',
  ReplicaSet: 'the local mesh runs Deployments, Jobs and Pods only',
  ReplicationController: 'the local mesh runs Deployments, Jobs and Pods only',
  CronJob: 'the local mesh runs Deployments, Jobs and Pods only',
  HorizontalPodAutoscaler: 'the local mesh does not scale by load',
  PersistentVolumeClaim: 'the local mesh has emptyDir volumes only',
  Secret: 'the local mesh hands out no Secrets; a ConfigMap works',
  Ingress: 'nothing serves it here; a Service of type LoadBalancer is published on 127.0.0.1',
  Gateway: 'nothing serves it here; routes attach to Services',
};

/** The same for kinds that need a pod network of nodes. */
const WITHOUT_EFFECT_ON_LOOPBACK: Readonly<Record<string, string>> = {
  NetworkPolicy: 'loopback mode enforces no NetworkPolicy',
};

/** Fields that change what runs and that this runner doesn't honour; `only` on one kind of network. */
const UNHONOURED: readonly {
  readonly kinds: readonly string[];
  readonly path: Path;
  readonly matters: (value: JsonValue) => boolean;
  readonly message: string;
  readonly only?: NetworkKind;
}[] = [
  {
    kinds: ['Deployment'],
    path: ['spec', 'paused'],
    matters: (value) => value === true,
    message: 'is not honoured: changes roll out at once',
  },
  {
    kinds: ['Deployment'],
    path: ['spec', 'minReadySeconds'],
    matters: (value) => Number(value) > 0,
    message: 'is not honoured: a ready pod counts at once',
  },
  {
    kinds: ['Job'],
    path: ['spec', 'parallelism'],
    matters: (value) => Number(value) > 1,
    message: 'is not honoured: one pod runs at a time',
  },
  {
    kinds: ['Job'],
    path: ['spec', 'completions'],
    matters: (value) => Number(value) > 1,
    message: 'is not honoured: a Job is done after one success',
  },
  {
    kinds: ['Job'],
    path: ['spec', 'suspend'],
    matters: (value) => value === true,
    message: 'is not honoured: the Job runs at once',
  },
  {
    kinds: ['Service'],
    path: ['spec', 'externalIPs'],
    matters: (value) => Array.isArray(value) && value.length > 0,
    message: 'is not honoured: nothing answers on these addresses',
    only: 'loopback',
  },
  {
    kinds: ['Service'],
    path: ['spec', 'type'],
    matters: (value) => value === 'NodePort',
    message: 'NodePort opens no port here; LoadBalancer is published on 127.0.0.1',
    only: 'loopback',
  },
];

/** The same, inside a pod's spec. */
const UNHONOURED_IN_PODS: readonly {
  readonly path: Path;
  readonly message: string;
  readonly only?: NetworkKind;
}[] = [
  { path: ['hostNetwork'], message: 'is not honoured: the pod keeps its own address', only: 'loopback' },
  { path: ['activeDeadlineSeconds'], message: 'is not honoured: the pod runs until it ends' },
];

/**
 * What a person should know of objects that the local mesh can't do in full: kinds without effect, kinds that don't
 * exist, fields that aren't honoured, namespaces that no manifest holds. Nothing is passed over in silence.
 */
export function manifestProblems(
  objects: readonly SourcedObject[],
  network: NetworkKind,
): readonly Problem[] {
  const namespaces = new Set(
    objects.filter(({ object }) => object.kind === 'Namespace').map(({ object }) => object.metadata.name),
  );
  return objects.flatMap((sourced) => [
    ...kindProblems(sourced, network),
    ...fieldProblems(sourced, network),
    ...misfits(sourced.object).map(({ path, message }) => problemOf(sourced, path, message)),
    ...namespaceProblems(sourced, namespaces),
  ]);
}

/** Why an object can't have any effect, or undefined. An error where that can only be a slip. */
export function kindProblem(
  object: KubeObject,
  network: NetworkKind,
): Pick<Problem, 'severity' | 'message'> | undefined {
  const known = KINDS.filter((kind) => kind.kind === object.kind);
  const group = groupOf(object.apiVersion);
  const onLoopback = network === 'loopback' ? WITHOUT_EFFECT_ON_LOOPBACK[object.kind] : undefined;
  if (onLoopback === undefined && known.some((kind) => kind.group === group)) return undefined;
  const effect = onLoopback ?? WITHOUT_EFFECT[object.kind];
  if (effect !== undefined) return { severity: 'warning', message: `has no effect here: ${effect}` };
  if (known[0] !== undefined)
    return {
      severity: 'error',
      message: `${object.kind} is of the group "${known[0].group}", not "${group}"`,
    };
  const near = didYouMean(
    object.kind,
    KINDS.map((kind) => kind.kind),
  );
  // Kinds of other groups belong to somebody else's controllers; those that look like ours are slips.
  return near === '' && !OUR_GROUPS.includes(group)
    ? { severity: 'warning', message: 'has no effect here: the mesh does not read this kind' }
    : { severity: 'error', message: `there is no kind ${object.kind} in ${object.apiVersion}${near}` };
}

function kindProblems(sourced: SourcedObject, network: NetworkKind): readonly Problem[] {
  const found = kindProblem(sourced.object, network);
  return found === undefined ? [] : [{ ...problemOf(sourced, [], found.message), severity: found.severity }];
}

function fieldProblems(sourced: SourcedObject, network: NetworkKind): readonly Problem[] {
  const { object } = sourced;
  const applies = (rule: { readonly only?: NetworkKind }) => rule.only === undefined || rule.only === network;
  const rules = UNHONOURED.filter((rule) => applies(rule) && rule.kinds.includes(object.kind));
  const own = rules.flatMap((rule) => {
    const value = at(object, ...rule.path);
    return value !== undefined && value !== null && rule.matters(value)
      ? [problemOf(sourced, rule.path, rule.message)]
      : [];
  });
  const base = podSpecPath(object);
  if (base === undefined) return own;
  const inPod = UNHONOURED_IN_PODS.filter(
    (rule) => applies(rule) && isSet(at(object, ...base, ...rule.path)),
  ).map((rule) => problemOf(sourced, [...base, ...rule.path], rule.message));
  return [...own, ...inPod, ...containerProblems(sourced, base, network)];
}

function containerProblems(sourced: SourcedObject, base: Path, network: NetworkKind): readonly Problem[] {
  return ['initContainers', 'containers'].flatMap((list) =>
    listAt(sourced.object, ...base, list).flatMap((container, index) => {
      const path = [...base, list, index];
      const hooks = isSet(at(container, 'lifecycle', 'postStart'))
        ? [problemOf(sourced, [...path, 'lifecycle', 'postStart'], 'is not honoured: no hook runs at start')]
        : [];
      const hostPorts = listAt(container, 'ports').flatMap((port, place) =>
        network === 'loopback' && isSet(at(port, 'hostPort'))
          ? [problemOf(sourced, [...path, 'ports', place, 'hostPort'], 'is not honoured: use a LoadBalancer')]
          : [],
      );
      return [...hooks, ...hostPorts];
    }),
  );
}

function namespaceProblems(sourced: SourcedObject, namespaces: ReadonlySet<string>): readonly Problem[] {
  const { kind, metadata } = sourced.object;
  const namespace = metadata.namespace ?? 'default';
  if (!isNamespaced(kind) || namespaces.has(namespace)) return [];
  if (namespace === 'default' || namespace === SYSTEM_NAMESPACE) return [];
  const message = `namespace ${namespace} is in no manifest: it is taken as one without labels`;
  return [problemOf(sourced, ['metadata', 'namespace'], message)];
}

function podSpecPath(object: KubeObject): Path | undefined {
  if (object.kind === 'Pod') return ['spec'];
  return object.kind === 'Deployment' || object.kind === 'Job' ? ['spec', 'template', 'spec'] : undefined;
}

function isSet(value: JsonValue | undefined): boolean {
  return value !== undefined && value !== null && value !== false;
}

function problemOf({ object, origin }: SourcedObject, path: Path, message: string): Problem {
  const field = path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`),
    '',
  );
  const { namespace, name } = object.metadata;
  return {
    severity: 'warning',
    source: origin.source,
    line: origin.lineOf?.(path) ?? origin.line,
    object: `${object.kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`,
    ...(path.length === 0 ? {} : { field }),
    message,
  };
}
