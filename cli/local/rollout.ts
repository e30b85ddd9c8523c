/** A pod of a Deployment as the planner sees it. */
export interface RolloutPod {
  readonly name: string;
  /** Of the current template. */
  readonly current: boolean;
  readonly ready: boolean;
  readonly terminating: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly createdAtMs: number;
}

export interface RolloutSettings {
  readonly replicas: number;
  readonly strategy: 'RollingUpdate' | 'Recreate';
  /** A number of pods, or a percentage as `25%`. */
  readonly maxSurge: number | string;
  readonly maxUnavailable: number | string;
}

export interface RolloutPlan {
  readonly create: number;
  /** Names of pods to delete. */
  readonly remove: readonly string[];
}

/**
 * The next step of a Deployment: how many pods of the current template to create and which pods to delete, so that never
 * more than replicas + maxSurge run and never fewer than replicas - maxUnavailable are ready (Kubernetes, "Rolling
 * Update Deployment"). Applied again after each change, it ends with `replicas` current pods and no other.
 */
export function planRollout(settings: RolloutSettings, pods: readonly RolloutPod[]): RolloutPlan {
  const alive = pods.filter((pod) => !pod.terminating);
  const current = alive.filter((pod) => pod.current);
  const old = alive.filter((pod) => !pod.current);
  const surplus = firstToGo(current).slice(0, Math.max(0, current.length - settings.replicas));
  if (settings.strategy === 'Recreate') {
    const waiting = pods.some((pod) => !pod.current);
    return {
      create: waiting ? 0 : Math.max(0, settings.replicas - current.length),
      remove: [...old, ...surplus].map((pod) => pod.name),
    };
  }
  const bounds = rolloutBounds(settings);
  const room = settings.replicas + bounds.surge - alive.length;
  const create = Math.max(0, Math.min(settings.replicas - current.length, room));
  return {
    create,
    remove: [...surplus, ...oldToRemove(settings, bounds.unavailable, current, old)].map((p) => p.name),
  };
}

/** Old pods that aren't ready serve nobody and go at once; ready ones only while enough others are ready. */
function oldToRemove(
  settings: RolloutSettings,
  unavailable: number,
  current: readonly RolloutPod[],
  old: readonly RolloutPod[],
): readonly RolloutPod[] {
  const idle = old.filter((pod) => !pod.ready);
  const serving = firstToGo(old.filter((pod) => pod.ready));
  const ready = Math.min(settings.replicas, current.filter((pod) => pod.ready).length) + serving.length;
  const spare = Math.max(0, ready - Math.max(0, settings.replicas - unavailable));
  return [...idle, ...serving.slice(0, spare)];
}

/** Percentages as Kubernetes rounds them: surge up, unavailable down; both zero would never move. */
export function rolloutBounds(settings: RolloutSettings): { surge: number; unavailable: number } {
  const surge = amount(settings.maxSurge, settings.replicas, Math.ceil);
  const unavailable = amount(settings.maxUnavailable, settings.replicas, Math.floor);
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

function amount(value: number | string, replicas: number, round: (exact: number) => number): number {
  if (typeof value === 'number') return Math.max(0, value);
  const percent = /^(\d{1,3})%$/.exec(value);
  return percent === null ? 0 : round((Number(percent[1]) * replicas) / 100);
}

/** Not ready before ready, then the youngest first. */
function firstToGo(pods: readonly RolloutPod[]): readonly RolloutPod[] {
  return pods.toSorted((a, b) => Number(a.ready) - Number(b.ready) || b.createdAtMs - a.createdAtMs);
}
