import { readdirSync, rmSync } from 'node:fs';
import { messageOf } from '../../common/errors.ts';
import type { UninstallReport } from '../../common/pod-network.ts';
import { findLink } from '../kernel/netlink/links.ts';
import { Netlink } from '../kernel/netlink/socket.ts';
import { removePodLink } from '../setup/pod.ts';
import { removeCapture } from '../setup/pod-capture.ts';
import { placeOf } from './attachments.ts';
import { uninstallPlugin } from './cni/install.ts';
import type { LocalPod } from './local-pods.ts';
import type { NodeGround } from './node-ground.ts';
import type { AgentOptions } from './options.ts';
import { leaveDevice } from './programs/links.ts';
import { removePins } from './programs/pins.ts';
import { devicePlaces, type NodeDevices, podPlaces } from './programs/places.ts';
import { formerUplink } from './uplink.ts';

export interface UninstallInput {
  readonly options: AgentOptions;
  readonly ground: NodeGround;
  readonly localPods: readonly LocalPod[];
}

/**
 * Takes everything of Heddle off a node, so that it is as it was: the runtime's configuration first (nobody adds a pod any
 * more), then programs with their pins, pods' devices, the node's devices and rules, and what was kept on disk. Each part
 * is tried, whatever became of the others.
 */
export function uninstallNode({ options, ground, localPods }: UninstallInput): UninstallReport {
  const removed: string[] = [];
  const failed: string[] = [];
  const attempt = (what: string, task: () => readonly string[] | undefined) => {
    try {
      removed.push(...(task() ?? [what]));
    } catch (thrown) {
      failed.push(`${what}: ${messageOf(thrown)}`);
    }
  };
  const { cni, pins, stateDirectory, nodeNetns } = options;
  if (cni !== undefined) attempt('the CNI plugin', () => uninstallPlugin(cni).map((path) => `file ${path}`));
  attempt('programs at devices', () => {
    for (const pod of localPods)
      for (const place of podPlaces(pins, placeOf(pod, nodeNetns)).values()) leaveDevice(place);
    for (const place of devicePlaces(pins, uplinkOf(options)).values()) leaveDevice(place);
    return undefined;
  });
  attempt('programs and maps', () => removePins(pins).map((path) => `pin ${path}`));
  for (const pod of localPods) {
    const name = `${pod.namespace}/${pod.name}`;
    if (options.mode !== 'capture')
      attempt(`device ${pod.hostIfname} of pod ${name}`, () => {
        removePodLink(nodeNetns, pod.hostIfname);
        return undefined;
      });
    else if (pod.captured)
      attempt(`capture of pod ${name}`, () => {
        removeCapture(pod.netns, pod.ips);
        return undefined;
      });
  }
  attempt('devices, routes and rules of the node', () => {
    ground.remove();
    return undefined;
  });
  attempt(`folder ${stateDirectory}`, () => {
    removeFolder(stateDirectory);
    return undefined;
  });
  return { removed, failed };
}

/** A folder that is mounted, as in a container, stays and is empty. */
function removeFolder(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EBUSY' || readdirSync(path).length > 0) throw thrown;
  }
}

/** The tunnel's device goes with its programs; the uplink stays. */
function uplinkOf(options: AgentOptions): NodeDevices {
  const { nodeNetns: netns } = options;
  using netlink = new Netlink(netns);
  return { netns, tunnelIfindex: 0, uplinkIfindex: findLink(netlink, formerUplink(options))?.ifindex ?? 0 };
}
