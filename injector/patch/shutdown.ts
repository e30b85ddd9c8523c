import { ANNOTATIONS, SIDECAR } from '../../common/contracts.ts';
import { isJsonObject, type JsonObject } from '../../common/json.ts';
import { type PatchOperation, pointer } from './json-patch.ts';
import type { PodView } from './pod.ts';

/** Clients, nodes and the pod's own sidecar hear of a pod's end within a second or two. */
const shutdownDelaySecondsDefault = 5;
export const shutdownDelaySecondsMax = 60;
/** Kubernetes' default for `terminationGracePeriodSeconds`. */
const graceSecondsDefault = 30;
/** The delay is part of the grace period, and the app needs the rest. */
const GRACE_PARTS = 3;

/** What the annotation says; `problem` is told where it is no number of seconds. */
export function shutdownDelaySeconds(
  annotations: ReadonlyMap<string, string>,
  problem: (annotation: string, must: string) => void,
): number {
  const text = annotations.get(ANNOTATIONS.shutdownDelay);
  if (text === undefined) return shutdownDelaySecondsDefault;
  if (/^\d{1,2}$/.test(text) && Number(text) <= shutdownDelaySecondsMax) return Number(text);
  problem(ANNOTATIONS.shutdownDelay, `seconds from 0 to ${shutdownDelaySecondsMax}`);
  return shutdownDelaySecondsDefault;
}

/**
 * Lets an app serve on for the first seconds of its pod's end: it is told to end at the same moment as everybody who calls it is
 * told to go elsewhere, and a request that meets an app which has closed its door is lost, unless it may be sent twice. Containers
 * with a `preStop` of their own, and pods that end by themselves (Jobs), stay as they are. Kubernetes 1.30 knows `sleep`; 1.29 drops it.
 */
export function delayShutdown(view: PodView, delaySeconds: number): readonly PatchOperation[] {
  const { restartPolicy, terminationGracePeriodSeconds: grace } = view.spec;
  if (restartPolicy !== undefined && restartPolicy !== 'Always') return [];
  const graceSeconds = typeof grace === 'number' ? grace : graceSecondsDefault;
  const seconds = Math.min(delaySeconds, Math.floor(graceSeconds / GRACE_PARTS));
  if (seconds < 1) return [];
  return view.containers
    .filter(({ name }) => name !== SIDECAR.container)
    .flatMap(({ path, object }) => delayed(path, object.lifecycle, { sleep: { seconds } }));
}

function delayed(path: string, lifecycle: unknown, preStop: JsonObject): readonly PatchOperation[] {
  if (lifecycle === undefined || lifecycle === null)
    return [{ op: 'add', path: `${path}${pointer('lifecycle')}`, value: { preStop } }];
  if (!isJsonObject(lifecycle) || (lifecycle.preStop !== undefined && lifecycle.preStop !== null)) return [];
  return [{ op: 'add', path: `${path}${pointer('lifecycle', 'preStop')}`, value: preStop }];
}
