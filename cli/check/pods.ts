import { ANNOTATIONS, LABELS } from '../../common/contracts.ts';
import type { KubeObject } from '../../model/objects.ts';
import { listAt, numberAt, textAt } from '../kube/fields.ts';
import { webhookSelects } from '../local/admission.ts';
import { isReady, podStatus } from '../output/columns.ts';
import { type Facts, type Finding, ofKind, podName } from './findings.ts';

/** A pod may take this long to become ready before that is worth a word. */
const startMs = 15_000;

/** Pods that don't run or aren't ready, and Deployments that can't make theirs. */
export function checkPods(facts: Facts): readonly Finding[] {
  const pods = ofKind(facts, 'Pod').filter((pod) => pod.metadata.deletionTimestamp === undefined);
  const troubles = pods.flatMap((pod) => podTrouble(pod, facts.nowMs) ?? []);
  const held = ofKind(facts, 'Deployment').flatMap((deployment) => heldDeployment(deployment) ?? []);
  const ready = pods.filter(isReady).length;
  const good: Finding[] =
    troubles.length === 0 && pods.length > 0
      ? [{ level: 'good', about: 'pods', message: `${ready} of ${pods.length} ready` }]
      : [];
  return [...troubles, ...held, ...good];
}

function podTrouble(pod: KubeObject, nowMs: number): Finding | undefined {
  const status = podStatus(pod);
  if (status === 'Completed' || isReady(pod)) return undefined;
  const about = `pod ${podName(pod)}`;
  const namespace = pod.metadata.namespace ?? 'default';
  const message = textAt(pod.status, 'message') ?? '';
  const created = Date.parse(pod.metadata.creationTimestamp ?? '');
  const young = nowMs - created < startMs;
  if (message === '' && young)
    return { level: 'note', about, namespace, message: 'is starting', remedy: 'look again in a moment' };
  const restarts = listAt(pod.status, 'containerStatuses').reduce<number>(
    (sum, entry) => sum + (numberAt(entry, 'restartCount') ?? 0),
    0,
  );
  const times = restarts === 0 ? '' : `, ${restarts} restart${restarts === 1 ? '' : 's'}`;
  const reason = textAt(pod.status, 'reason') ?? status;
  const told = message === '' ? 'not ready, and it says not why' : message;
  return {
    level: 'problem',
    ...{ about, namespace, message: `${reason}: ${told}${times}` },
    remedy: remedyOf(pod, reason),
  };
}

function remedyOf(pod: KubeObject, reason: string): string {
  const { name, namespace = 'default' } = pod.metadata;
  const logs = `heddle logs ${name} -n ${namespace}`;
  switch (reason) {
    case 'CrashLoopBackOff':
      return `${logs} --previous`;
    case 'PortConflict':
      return 'let the app listen on $HOST:$PORT, or run one replica';
    case 'FailedMount':
    case 'CreateContainerConfigError':
      return 'change the manifest; the pod is made anew then';
    case 'NotReady':
      return `${logs}; the readiness probe decides`;
    default:
      return `${logs}, and heddle get pod ${name} -n ${namespace} -o yaml`;
  }
}

function heldDeployment(deployment: KubeObject): Finding | undefined {
  const condition = listAt(deployment.status, 'conditions').find(
    (entry) => textAt(entry, 'reason') === 'FailedCreate',
  );
  if (condition === undefined) return undefined;
  return {
    level: 'problem',
    about: `deployment ${podName(deployment)}`,
    namespace: deployment.metadata.namespace ?? 'default',
    message: `its pods can't be created: ${textAt(condition, 'message') ?? ''}`,
    remedy: 'it is tried again by itself once that is mended',
  };
}

/** Pods that should have a sidecar and have none, and those that are left out on purpose. */
export function checkInjection(facts: Facts): readonly Finding[] {
  const namespaces = new Map(ofKind(facts, 'Namespace').map((one) => [one.metadata.name, one]));
  return ofKind(facts, 'Pod').flatMap((pod): readonly Finding[] => {
    if (pod.metadata.annotations?.[ANNOTATIONS.injected] !== undefined) return [];
    const namespace = pod.metadata.namespace ?? 'default';
    const labels = namespaces.get(namespace)?.metadata.labels ?? {};
    const found = { about: `pod ${podName(pod)}`, namespace };
    if (webhookSelects(namespace, labels, pod.metadata.labels ?? {}))
      return [
        {
          level: 'problem',
          ...found,
          message: 'has no sidecar: it was created before its namespace or template was labelled',
          remedy: 'change the pod template (an annotation is enough): new pods get one',
        },
      ];
    if (labels[LABELS.inject] === 'enabled' && pod.metadata.labels?.[LABELS.inject] === 'disabled')
      return [
        {
          level: 'note',
          ...found,
          message: `has no sidecar, as its label ${LABELS.inject}=disabled asks`,
        },
      ];
    return [];
  });
}
