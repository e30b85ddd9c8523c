import { ANNOTATIONS, SIDECAR } from '../../common/contracts.ts';
import { formatDuration } from '../../common/duration.ts';
import type { KubeObject } from '../../model/objects.ts';
import { textAt } from '../kube/fields.ts';
import { isReady } from '../output/columns.ts';
import { type Facts, type Finding, ofKind, podName } from './findings.ts';

/** A leaf with less left than this was not renewed when it should have been; of a short life, this share of it. */
const leafSecondsMin = 600;
const leafShareMin = 0.3;
/** A root with less left than this wants to be replaced soon. */
const rootWarnMs = 30 * 86_400_000;

/** Every injected pod's sidecar: connected, in step, nothing refused, certificate alive. */
export function checkSidecars(facts: Facts): readonly Finding[] {
  const views = new Map(facts.sidecars.map((view) => [view.pod, view]));
  const meshed = ofKind(facts, 'Pod').filter(
    (pod) =>
      pod.metadata.annotations?.[ANNOTATIONS.injected] !== undefined &&
      pod.metadata.deletionTimestamp === undefined &&
      ['Running', 'Pending'].includes(textAt(pod.status, 'phase') ?? ''),
  );
  const findings = meshed.flatMap((pod) => sidecarTroubles(pod, views.get(podName(pod)), facts));
  if (meshed.length > 0 && !findings.some((finding) => finding.level === 'problem'))
    findings.push({
      level: 'good',
      about: 'sidecars',
      message: `${meshed.length} connected, each with a certificate and the latest configuration`,
    });
  return findings;
}

function sidecarTroubles(
  pod: KubeObject,
  view: Facts['sidecars'][number] | undefined,
  facts: Facts,
): readonly Finding[] {
  const { name, namespace = 'default' } = pod.metadata;
  const found = { about: `sidecar of ${podName(pod)}`, namespace };
  const logs = `heddle logs ${name} -n ${namespace} -c ${SIDECAR.container}`;
  if (view === undefined) {
    // A pod that isn't ready yet is a finding of its own; its sidecar may be about to connect.
    if (!isReady(pod)) return [];
    return [
      {
        level: 'problem',
        ...found,
        message: 'is not connected to the control plane: it goes on with what it has',
        remedy: logs,
      },
    ];
  }
  const findings: Finding[] = [];
  if (view.nack !== undefined)
    findings.push({
      level: 'problem',
      ...found,
      message: `refused configuration and keeps what it had: ${view.nack}`,
      remedy: 'mend the object that is named',
    });
  else if (view.pending > 0)
    findings.push({
      level: 'warning',
      ...found,
      message: `has yet to acknowledge ${view.pending} resource${view.pending === 1 ? '' : 's'}`,
      remedy: `look again in a moment; if it stays: ${logs}`,
    });
  const answer = facts.answers.get(podName(pod));
  if (answer?.error !== undefined)
    findings.push({ level: 'problem', ...found, message: `doesn't answer: ${answer.error}`, remedy: logs });
  const seconds = answer?.certificateSeconds;
  if (seconds !== undefined && seconds < Math.min(leafSecondsMin, leafShareMin * facts.leafTtlSeconds))
    findings.push({
      level: 'problem',
      ...found,
      message:
        seconds <= 0
          ? 'its certificate has expired: peers refuse it'
          : `its certificate expires in ${formatDuration(seconds * 1_000)} and was not renewed`,
      remedy: logs,
    });
  return findings;
}

export interface RootCertificate {
  readonly notAfterMs: number;
}

/** The mesh's root; undefined where the control plane has written none. */
export function checkRoot(root: RootCertificate | undefined, nowMs: number): Finding {
  const about = 'root certificate';
  if (root === undefined)
    return {
      level: 'problem',
      about,
      message: 'there is none',
      remedy: 'heddle logs control-plane -n heddle-system',
    };
  const day = new Date(root.notAfterMs).toISOString().slice(0, 10);
  const remedy = 'delete control-plane/ in the state directory and start the mesh again: it makes a new one';
  if (root.notAfterMs <= nowMs) return { level: 'problem', about, message: `expired on ${day}`, remedy };
  if (root.notAfterMs - nowMs < rootWarnMs)
    return { level: 'warning', about, message: `expires on ${day}`, remedy };
  return { level: 'good', about, message: `valid until ${day}` };
}
