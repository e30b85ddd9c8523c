import { parsePrefix } from '../../common/address.ts';
import { ANNOTATIONS, SIDECAR } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { objectsOf, portList, recordOf, stringMap, textOf } from '../../model/read/meta.ts';
import type { LocalPod } from './local-pods.ts';

/** Ports that one pod may leave out of capture in one direction: each is an entry of a map that all pods of the node share. */
export const skippedPortsMax = 1_024;
export const skippedCidrsMax = 256;

const portsOfTcp = 65_535;

/** Whether the pod has a sidecar, as the injector puts it: an init container that restarts, or a container. */
export function isMeshed(pod: KubeObject): boolean {
  const spec = recordOf(pod.spec);
  return [...objectsOf(spec.initContainers), ...objectsOf(spec.containers)].some(
    ({ name }) => name === SIDECAR.container,
  );
}

/** `heddle.dev/skip-*` of a pod. Throws `annotation` where they can't be used: what they mean would be a guess. */
export function skippedBy(pod: KubeObject): LocalPod['skip'] {
  const annotations = stringMap(pod.metadata.annotations);
  return {
    inbound: ports(annotations, ANNOTATIONS.skipInboundPorts),
    outbound: ports(annotations, ANNOTATIONS.skipOutboundPorts),
    cidrs: cidrs(annotations, ANNOTATIONS.skipOutboundCidrs),
  };
}

/** Id of the sidecar's container without its runtime's name (`containerd://`); undefined until a status says it. */
export function sidecarContainerId(pod: KubeObject): string | undefined {
  const status = recordOf(pod.status);
  const all = [...objectsOf(status.initContainerStatuses), ...objectsOf(status.containerStatuses)];
  const id = textOf(all.find(({ name }) => name === SIDECAR.container)?.containerID);
  return id?.slice(id.indexOf('://') + 3);
}

/**
 * Whether a cgroup is a container's. Runtimes end its path with the container's id: as a folder (cgroupfs), or as
 * `cri-containerd-<id>.scope` and the like (systemd).
 */
export function isCgroupOf(path: string, containerId: string): boolean {
  return path.endsWith(`/${containerId}`) || path.endsWith(`-${containerId}.scope`);
}

function ports(annotations: ReadonlyMap<string, string>, name: string): readonly number[] {
  const list = portList(annotations.get(name));
  if (list.bad.length > 0) throw unusable(name, `"${list.bad.join(',')}" is no port and no range of ports`);
  const found: number[] = [];
  for (let port = 1; port <= portsOfTcp; port++) if (list.has(port)) found.push(port);
  if (found.length > skippedPortsMax)
    throw unusable(name, `it names ${found.length} ports, and at most ${skippedPortsMax} can be left out`);
  return found;
}

function cidrs(annotations: ReadonlyMap<string, string>, name: string): readonly string[] {
  const list = (annotations.get(name) ?? '').split(',').map((one) => one.trim());
  const found = list.filter((one) => one !== '');
  if (found.length > skippedCidrsMax)
    throw unusable(name, `it names ${found.length} ranges, and at most ${skippedCidrsMax} can be left out`);
  for (const one of found) {
    try {
      parsePrefix(one);
    } catch {
      throw unusable(name, `"${one}" is no range of addresses such as 10.0.0.0/8`);
    }
  }
  return found;
}

function unusable(annotation: string, why: string): HeddleError {
  return new HeddleError('annotation', `the pod's annotation ${annotation} can't be used: ${why}`);
}
