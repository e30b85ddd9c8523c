import { isJsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt } from '../kube/fields.ts';
import { didYouMean } from '../suggest.ts';

type Path = readonly (string | number)[];

/** A field that no Kubernetes object of this kind has, or a value that it can't hold. */
export interface Misfit {
  readonly path: Path;
  readonly message: string;
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** Fields of apps/v1, batch/v1 and core/v1 (Kubernetes API reference 1.34). */
const DEPLOYMENT = words(
  'minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit selector strategy template',
);
const JOB = words(
  `activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy manualSelector
  maxFailedIndexes parallelism podFailurePolicy podReplacementPolicy selector successPolicy suspend template
  ttlSecondsAfterFinished`,
);
const TEMPLATE = ['metadata', 'spec'];
const POD = words(
  `activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks
  ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets
  initContainers nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates
  resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount
  serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations
  topologySpreadConstraints volumes workloadRef`,
);
const CONTAINER = words(
  `args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy resources
  restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath
  terminationMessagePolicy tty volumeDevices volumeMounts workingDir`,
);

/** What an API server would refuse or drop of a workload or ConfigMap: here nobody else says so. */
export function misfits(object: KubeObject): readonly Misfit[] {
  switch (object.kind) {
    case 'Deployment':
      return [...unknownIn(object, ['spec'], DEPLOYMENT), ...badReplicas(object), ...inTemplate(object)];
    case 'Job':
      return [...unknownIn(object, ['spec'], JOB), ...inTemplate(object)];
    case 'Pod':
      return inPod(object, ['spec']);
    case 'ConfigMap':
      return notTexts(object);
    default:
      return [];
  }
}

function inTemplate(object: KubeObject): readonly Misfit[] {
  const path = ['spec', 'template'];
  return [...unknownIn(object, path, TEMPLATE), ...inPod(object, [...path, 'spec'])];
}

function inPod(object: KubeObject, path: Path): readonly Misfit[] {
  const containers = ['initContainers', 'containers'].flatMap((list) =>
    listAt(object, ...path, list).flatMap((_, index) => unknownIn(object, [...path, list, index], CONTAINER)),
  );
  return [...unknownIn(object, path, POD), ...containers];
}

function unknownIn(object: KubeObject, path: Path, known: readonly string[]): readonly Misfit[] {
  const value = at(object, ...path);
  if (!isJsonObject(value)) return [];
  return Object.keys(value)
    .filter((name) => !known.includes(name))
    .map((name) => ({ path: [...path, name], message: `there is no such field${didYouMean(name, known)}` }));
}

function badReplicas(object: KubeObject): readonly Misfit[] {
  const replicas = at(object, 'spec', 'replicas');
  const sound = replicas === undefined || replicas === null || isCount(replicas);
  return sound ? [] : [{ path: ['spec', 'replicas'], message: 'must be a whole number, 0 or more' }];
}

function isCount(value: JsonValue): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

function notTexts(object: KubeObject): readonly Misfit[] {
  const data = at(object, 'data');
  if (!isJsonObject(data)) return [];
  return Object.entries(data)
    .filter(([, value]) => typeof value !== 'string')
    .map(([name]) => ({ path: ['data', name], message: 'must be a text: put it in quotes' }));
}
