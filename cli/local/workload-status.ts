import type { KubeObject } from '../../model/objects.ts';
import { numberAt } from '../kube/fields.ts';
import { replicasOf } from './owners.ts';

/** Kubernetes' own default of `backoffLimit`. */
const jobBackoffLimit = 6;

export function backoffLimitOf(job: KubeObject): number {
  return numberAt(job.spec, 'backoffLimit') ?? jobBackoffLimit;
}

/** A pod of a Deployment that isn't on its way out. */
export interface CountedPod {
  /** Of the current template. */
  readonly current: boolean;
  readonly ready: boolean;
}

/** A Deployment with its status; `held` is why its pods can't be created. */
export function deploymentWithStatus(
  deployment: KubeObject,
  pods: readonly CountedPod[],
  held: string | undefined,
): KubeObject {
  const wanted = replicasOf(deployment);
  const ready = pods.filter((pod) => pod.ready).length;
  // As in Kubernetes, pods of the template before count while a rollout is under way.
  const available = ready >= wanted;
  return {
    ...deployment,
    status: {
      ...{ replicas: pods.length, readyReplicas: ready, availableReplicas: ready },
      updatedReplicas: pods.filter((pod) => pod.current).length,
      unavailableReplicas: Math.max(0, wanted - ready),
      conditions: [
        {
          type: 'Available',
          status: available ? 'True' : 'False',
          ...(held === undefined ? {} : { reason: 'FailedCreate', message: held }),
        },
      ],
    },
  };
}

/** A Job with its status after so many failed pods. */
export function jobWithStatus(job: KubeObject, done: boolean, failed: number): KubeObject {
  const condition = done ? 'Complete' : failed > backoffLimitOf(job) ? 'Failed' : undefined;
  return {
    ...job,
    status: {
      ...{ succeeded: done ? 1 : 0, failed },
      conditions: condition === undefined ? [] : [{ type: condition, status: 'True' }],
    },
  };
}
