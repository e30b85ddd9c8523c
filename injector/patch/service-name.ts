import type { JsonObject } from '../../common/json.ts';
import { objectsOf, stringMap, textOf } from '../../model/read/meta.ts';

/** What a ReplicaSet puts into its pods' labels and at the end of its own name, for a Deployment or an Argo Rollout. */
const TEMPLATE_HASHES = ['pod-template-hash', 'rollouts-pod-template-hash'] as const;

/** A CronJob's Jobs end with their time in minutes since the Unix epoch: eight digits until the year 2160. */
const OF_CRON_JOB = /^(.+)-(\d{8})$/;
/** June 2019, before any Kubernetes that named Jobs so: what is below is more likely a date, such as 20260131. */
const cronMinutesMin = 26_000_000;

/**
 * What traces call the workload that a pod belongs to, by the controller that its metadata names: the Deployment of a
 * ReplicaSet, the CronJob of a Job, else the controller itself. Undefined for a pod that nobody controls, or its node alone:
 * the sidecar then goes by the pod's own name.
 */
export function controllerName(metadata: JsonObject): string | undefined {
  const owner = objectsOf(metadata.ownerReferences).find(({ controller }) => controller === true);
  const name = textOf(owner?.name) ?? '';
  if (owner === undefined || name === '' || owner.kind === 'Node') return undefined;
  if (owner.kind === 'Job') return jobName(name);
  if (owner.kind !== 'ReplicaSet') return name;
  const labels = stringMap(metadata.labels);
  const suffix = TEMPLATE_HASHES.map((label) => `-${labels.get(label) ?? ''}`).find(
    (hash) => hash !== '-' && name.endsWith(hash),
  );
  return suffix === undefined ? name : name.slice(0, -suffix.length);
}

function jobName(name: string): string {
  const [, cronJob, minutes] = OF_CRON_JOB.exec(name) ?? [];
  return cronJob !== undefined && Number(minutes) >= cronMinutesMin ? cronJob : name;
}
