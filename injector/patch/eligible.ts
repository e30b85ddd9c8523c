import { ANNOTATIONS, LABELS, PORTS, SIDECAR } from '../../common/contracts.ts';
import { recordOf } from '../../model/read/meta.ts';
import { type ContainerView, type PodView, runsAs } from './pod.ts';
import { IDENTITY_VOLUME } from './sidecar.ts';
import { NEVER_INJECTED } from './webhooks.ts';

/** Made by kubelet for a pod that it started from a file; the API server allows no change. */
const MIRROR_POD = 'kubernetes.io/config.mirror';

/** What the sidecar binds in the pod's network. */
const SIDECAR_PORTS: readonly number[] = [
  PORTS.proxyAdmin,
  PORTS.proxyOutbound,
  PORTS.proxyInbound,
  PORTS.proxyAdminForControlPlane,
  PORTS.proxyMetrics,
  PORTS.proxyHealth,
];

/** Why a pod is another revision's matter, or undefined. */
export function reasonToLeave(view: PodView, revision: string): string | undefined {
  const asked = view.labels.get(LABELS.revision);
  if (asked === undefined || asked === revision) return undefined;
  return `its label ${LABELS.revision} asks for revision ${asked}, and this is ${revision}`;
}

/** Why a pod stays without a sidecar, or undefined. */
export function reasonToSkip(view: PodView, namespace: string): string | undefined {
  if (NEVER_INJECTED.includes(namespace)) return `pods of ${namespace} are never injected`;
  if (view.labels.get(LABELS.inject) === 'disabled') return `its label ${LABELS.inject} says disabled`;
  if (view.spec.hostNetwork === true) return "it uses its node's network (hostNetwork)";
  if (recordOf(view.spec.os).name === 'windows') return 'it runs on Windows';
  if (view.annotations.has(MIRROR_POD)) return 'it is the mirror of a static pod';
  return undefined;
}

/** What makes a pod impossible to inject, each with the remedy. `injected`: by an earlier pass over the same pod. */
export function conflicts(view: PodView, injected: boolean): string[] {
  const found: string[] = [];
  const label = view.labels.get(LABELS.inject);
  if (label !== undefined && label !== 'enabled')
    found.push(`the label ${LABELS.inject} must be enabled or disabled, not "${label}"`);
  if (!injected && view.annotations.has(ANNOTATIONS.injected))
    found.push(
      `the annotation ${ANNOTATIONS.injected} is set but there is no sidecar: only the injector sets it, so remove it`,
    );
  if (!injected && view.volumes.has(IDENTITY_VOLUME))
    found.push(
      `the volume name ${IDENTITY_VOLUME} belongs to the sidecar: name the pod's own volume otherwise`,
    );
  for (const container of [...view.init, ...view.containers]) {
    if (container.name === SIDECAR.container && view.init.includes(container)) {
      if (!injected) found.push(reservedName());
    } else found.push(...containerConflicts(view, container));
  }
  return found;
}

function containerConflicts(view: PodView, container: ContainerView): string[] {
  const found: string[] = [];
  const { name } = container;
  if (name === SIDECAR.container) found.push(reservedName());
  const { uid, gid } = runsAs(view, container);
  if (uid === SIDECAR.uid || gid === SIDECAR.gid)
    found.push(
      `container ${name} runs as ${uid === SIDECAR.uid ? `user ${SIDECAR.uid}` : `group ${SIDECAR.gid}`}, which is the sidecar's alone: choose another (securityContext)`,
    );
  const own = new Set(container.ports.filter(({ protocol }) => protocol === 'TCP').map(({ port }) => port));
  for (const port of SIDECAR_PORTS)
    if (own.has(port))
      found.push(`container ${name} has the port ${port}, which the sidecar listens on: choose another`);
  return found;
}

function reservedName(): string {
  return `the container name ${SIDECAR.container} belongs to the sidecar: name the pod's own container otherwise`;
}
