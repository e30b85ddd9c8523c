import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { addressBytes, noAddress } from '../../../common/address.ts';
import type { Logger } from '../../../common/log.ts';
import type { ProgramStatus } from '../../../common/pod-network.ts';
import { ensureBpffs } from '../../kernel/bpffs.ts';
import { isKernelError } from '../../kernel/errors.ts';
import { openFd } from '../../kernel/fd.ts';
import {
  type AttachType,
  type BpfMap,
  type BpfObject,
  openObject,
  openPinnedMap,
} from '../../kernel/libbpf.ts';
import { encode, u32 } from '../../maps/struct.ts';
import { bpfObject } from '../beside.ts';
import {
  leaveDevice,
  placeLink,
  placeOnDevice,
  placeQuickly,
  removeLink,
  runsAt,
  runsOnDevice,
  settleOnDevice,
} from './links.ts';
import { devicePlaces, type NodeDevices, nodePin, type PodPlace, podPin, podPlaces } from './places.ts';

const loadTriesMax = 5;

/** Programs of socket.bpf.c, and the hook of each. */
export const CGROUP_PROGRAMS: Readonly<Record<string, AttachType>> = {
  sock_create: 'cgroup_inet_sock_create',
  sock_ops: 'cgroup_sock_ops',
  connect4: 'cgroup_inet4_connect',
  connect6: 'cgroup_inet6_connect',
  sendmsg4: 'cgroup_udp4_sendmsg',
  sendmsg6: 'cgroup_udp6_sendmsg',
  recvmsg4: 'cgroup_udp4_recvmsg',
  recvmsg6: 'cgroup_udp6_recvmsg',
  getpeername4: 'cgroup_inet4_getpeername',
  getpeername6: 'cgroup_inet6_getpeername',
};

export interface NodeProgramsOptions {
  /** The node's folder on a bpffs. */
  readonly pins: string;
  readonly log: Logger;
}

/**
 * The eBPF programs of a node: loaded over the maps that an earlier agent pinned, and put in the places of its programs. The
 * pins keep all of it at work when this process ends; nothing of a running connection is lost in between.
 */
export class NodePrograms implements Disposable {
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly #pins: string;
  readonly #packets: BpfObject;
  readonly #sockets: BpfObject;

  /** Loads and pins maps; attaches nothing yet. Throws `KernelError` with the verifier's words. */
  constructor({ pins, log }: NodeProgramsOptions) {
    ensureBpffs(pins);
    this.#pins = pins;
    const maps = new Map<string, BpfMap>(pinnedMaps(join(pins, 'maps')));
    this.#packets = loadOver(maps, 'pod', log);
    share(this.#packets, maps);
    this.#sockets = loadSockets(maps, log);
    share(this.#sockets, maps);
    this.maps = maps;
    this.pinMaps();
  }

  /**
   * Pins every map that isn't, on a bpffs that is mounted where it isn't: the next agent begins with what is pinned. Returns
   * the names of those maps.
   */
  pinMaps(): readonly string[] {
    ensureBpffs(this.#pins);
    const folder = join(this.#pins, 'maps');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const pinned = new Set(readdirSync(folder));
    return [...this.maps].flatMap(([name, map]) => {
      const path = join(folder, name);
      if (pinned.has(name)) {
        using known = openPinnedMap(path);
        if (known.info().id === map.info().id) return [];
        rmSync(path);
      }
      map.pin(path);
      return [name];
    });
  }

  /** Throws where no program of the node has such a map. */
  map(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new TypeError(`no program has a map ${name}`);
    return map;
  }

  /** Programs at the sockets of everything below `cgroup`. */
  attachSockets(cgroup: string): void {
    using target = openFd(cgroup);
    for (const [program, type] of Object.entries(CGROUP_PROGRAMS))
      placeLink(
        this.#sockets.program(program),
        { target: target.number, type },
        nodePin(this.#pins, program),
      );
  }

  attachDevices(devices: NodeDevices): void {
    for (const [program, place] of devicePlaces(this.#pins, devices))
      placeOnDevice(this.#packets.program(program), place);
  }

  attachPod(pod: PodPlace): void {
    for (const [program, place] of podPlaces(this.#pins, pod))
      placeQuickly(this.#packets.program(program), place);
    if (pod.captured) this.#attachSteer(pod);
  }

  /**
   * Makes one link for a pod that `attachPod` served without, which takes 15 ms. False where there is nothing left to do, as on kernels
   * without tcx.
   */
  settlePod(pod: PodPlace): boolean {
    return [...podPlaces(this.#pins, pod)].some(([program, place]) =>
      settleOnDevice(this.#packets.program(program), place),
    );
  }

  /** Works also where the pod's namespace and device are gone. */
  detachPod(pod: Omit<PodPlace, 'captured' | 'ips'>): void {
    removeLink(podPin(this.#pins, pod.podId, 'steer'));
    for (const [, place] of podPlaces(this.#pins, pod)) leaveDevice(place);
    for (const program of ['from_pod', 'to_pod']) removeLink(podPin(this.#pins, pod.podId, program));
    rmSync(join(this.#pins, 'links/pods', String(pod.podId)), { recursive: true, force: true });
  }

  /** Pods that have pins, whoever made them. */
  pinnedPods(): readonly number[] {
    const folder = join(this.#pins, 'links/pods');
    return existsSync(folder) ? readdirSync(folder).map(Number) : [];
  }

  /** Where the programs of the node stand, and whether they do. */
  places(devices: NodeDevices, cgroup: string): readonly ProgramStatus[] {
    const onDevices = [...devicePlaces(this.#pins, devices)].map(([name, place]) => ({
      ...{ name, target: `device ${place.ifindex}`, pin: place.pin, attached: runsOnDevice(place) },
    }));
    const onSockets = Object.keys(CGROUP_PROGRAMS).map((name) => {
      const pin = nodePin(this.#pins, name);
      return { name, target: `cgroup ${cgroup}`, pin, attached: runsAt(pin) };
    });
    return [...onDevices, ...onSockets];
  }

  /** Programs that stand at a pod. */
  namesAt(pod: PodPlace): readonly string[] {
    const onDevice = [...podPlaces(this.#pins, pod)].map(([name]) => name);
    return pod.captured ? [...onDevice, 'steer'] : onDevice;
  }

  /** Programs of the node that don't run where they should. */
  missing(devices: NodeDevices): readonly string[] {
    return this.places(devices, '').flatMap(({ name, attached }) => (attached ? [] : [name]));
  }

  /** The same of a pod. */
  missingOfPod(pod: PodPlace): readonly string[] {
    const onDevice = [...podPlaces(this.#pins, pod)]
      .filter(([, place]) => !runsOnDevice(place))
      .map(([program]) => program);
    return pod.captured && !runsAt(podPin(this.#pins, pod.podId, 'steer'))
      ? [...onDevice, 'steer']
      : onDevice;
  }

  /** Closes what this process holds; the pins stay. */
  [Symbol.dispose](): void {
    for (const map of this.maps.values()) map[Symbol.dispose]();
    for (const object of [this.#packets, this.#sockets]) object[Symbol.dispose]();
  }

  #attachSteer({ podId, netns, ips }: PodPlace): void {
    const open = openObject(bpfObject('steer')).setRodata({
      pod_id: encode(u32, podId),
      ip4: addressOf(ips, (ip) => !ip.includes(':')),
      ip6: addressOf(ips, (ip) => ip.includes(':')),
    });
    using steer = open.reuseMaps(this.maps).load();
    using target = openFd(netns);
    placeLink(
      steer.program('steer'),
      { target: target.number, type: 'sk_lookup' },
      podPin(this.#pins, podId, 'steer'),
    );
  }

  /** By rename of a new pin over the old one's place, so that no moment is without one. */
}

function* pinnedMaps(folder: string): Generator<[string, BpfMap]> {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) yield [name, openPinnedMap(join(folder, name))];
}

/**
 * Loads an object over the maps of before. A map whose layout another version has changed can't be shared: the new one begins
 * empty and is filled before the programs over it take the old ones' places.
 */
function loadOver(
  maps: Map<string, BpfMap>,
  name: string,
  log: Logger,
  rodata: Readonly<Record<string, Uint8Array>> = {},
): BpfObject {
  for (let tries = 1; ; tries++) {
    try {
      return loadOnce(maps, name, log, rodata);
    } catch (thrown) {
      // The verifier stops for a signal.
      if (!isKernelError(thrown, 'EAGAIN') || tries >= loadTriesMax) throw thrown;
    }
  }
}

function loadOnce(
  maps: Map<string, BpfMap>,
  name: string,
  log: Logger,
  rodata: Readonly<Record<string, Uint8Array>>,
): BpfObject {
  const open = openObject(bpfObject(name)).setRodata(rodata);
  for (const [map, known] of maps) {
    if (open.agreesWith(map, known)) continue;
    log.warn('a map of an earlier version is replaced', { map });
    maps.delete(map);
    known[Symbol.dispose]();
  }
  return open.reuseMaps(maps).load();
}

/** Chooses the caller's error where the verifier accepts that (Linux 6.1); older kernels answer EPERM. */
function loadSockets(maps: Map<string, BpfMap>, log: Logger): BpfObject {
  try {
    return loadOver(maps, 'socket', log, { can_refuse: Buffer.from([1]) });
  } catch (thrown) {
    if (!isKernelError(thrown, 'EINVAL', 'EACCES')) throw thrown;
    return loadOver(maps, 'socket', log, { can_refuse: Buffer.from([0]) });
  }
}

/** What an object made is for those that are loaded after it; but its constants are its own. */
function share(object: BpfObject, maps: Map<string, BpfMap>): void {
  for (const [name, map] of object.maps) if (!name.includes('.') && !maps.has(name)) maps.set(name, map);
}

function addressOf(ips: readonly string[], isWanted: (ip: string) => boolean): Buffer {
  const ip = ips.find(isWanted);
  return ip === undefined ? noAddress() : addressBytes(ip);
}
