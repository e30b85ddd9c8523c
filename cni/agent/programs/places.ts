import { join } from 'node:path';
import type { Netns } from '../../kernel/netns.ts';
import type { DevicePlace } from './links.ts';

/** The node's own devices; a node that only captures has no tunnel. */
export interface NodeDevices {
  readonly netns: Netns;
  /** 0: no tunnel. */
  readonly tunnelIfindex: number;
  readonly uplinkIfindex: number;
}

/** What a pod's programs stand on. */
export interface PodPlace {
  readonly podId: number;
  /** Path of the pod's namespace. */
  readonly netns: string;
  /** The node's, where the host end of the pod's veth is. */
  readonly nodeNetns: Netns;
  /** 0: the pod's device has no end on the node, as one that another CNI made may have none. */
  readonly hostIfindex: number;
  readonly ips: readonly string[];
  readonly captured: boolean;
}

/** Where a program of the node is pinned, in the node's folder `pins`. */
export function nodePin(pins: string, program: string): string {
  return join(pins, 'links', program);
}

export function podPin(pins: string, podId: number, program: string): string {
  return join(pins, 'links/pods', String(podId), program);
}

/** The places of the node's programs at its devices, by program. */
export function devicePlaces(
  pins: string,
  { netns, tunnelIfindex, uplinkIfindex }: NodeDevices,
): ReadonlyMap<string, DevicePlace> {
  const place = (program: string, ifindex: number, direction: DevicePlace['direction']) =>
    [program, { pin: nodePin(pins, program), netns, ifindex, direction }] as const;
  const tunnel = [
    place('from_overlay', tunnelIfindex, 'ingress'),
    place('to_overlay', tunnelIfindex, 'egress'),
  ];
  return new Map([...(tunnelIfindex === 0 ? [] : tunnel), place('from_uplink', uplinkIfindex, 'ingress')]);
}

/** The places of a pod's programs at the node's end of its device, by program. */
export function podPlaces(
  pins: string,
  { podId, nodeNetns: netns, hostIfindex: ifindex }: Pick<PodPlace, 'podId' | 'nodeNetns' | 'hostIfindex'>,
): ReadonlyMap<string, DevicePlace> {
  const place = (program: string, direction: DevicePlace['direction']) =>
    [program, { pin: podPin(pins, podId, program), netns, ifindex, direction }] as const;
  return new Map(ifindex === 0 ? [] : [place('from_pod', 'ingress'), place('to_pod', 'egress')]);
}
