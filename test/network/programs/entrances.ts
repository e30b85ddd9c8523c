import { EP, NODE } from '../../../cni/maps/constants.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { addressBytes } from '../../../common/address.ts';
import type { Crafted } from '../packets/craft.ts';
import {
  Datapath,
  type Family,
  HOSTS,
  IDENTITIES,
  IFINDEX,
  type Outcome,
  VERDICT,
} from '../packets/datapath.ts';
import { Overlay, VNI } from './overlay.ts';

type Host = keyof typeof HOSTS;

/** One place where a packet of a local pod is judged, in one direction. */
export interface Entrance {
  readonly name: string;
  readonly direction: 'ingress' | 'egress';
  /** Whose policy it is about, and who is on the other end. */
  readonly pod: 'a' | 'b';
  readonly peer: Host;
  readonly admitted: number;
  /** What is counted of a packet that is admitted. */
  readonly counted: readonly string[];
  /** Who gets what can't be read: the host, which judges again where it sends to the pod. */
  readonly leavesUnreadable?: boolean;
  /** Of the node that it stands on. */
  readonly flags: number;
  /** A packet from the peer to the pod, or the other way round, as this place sees it. */
  run(world: World, packet: Crafted): Outcome;
  /** The same for what answers it. */
  answer(world: World, packet: Crafted): Outcome;
}

/** A node with all its programs, as test runs see it. */
export class World implements Disposable {
  readonly path: Datapath;
  readonly overlay: Overlay;

  constructor(flags: number = NODE.TUNNEL) {
    this.path = new Datapath(flags);
    this.overlay = new Overlay(this.path);
  }

  fromPod(pod: 'a' | 'b', packet: Crafted | Buffer): Outcome {
    return this.path.run('from_pod', packet, { ifindex: IFINDEX[pod] });
  }

  fromOtherNode(packet: Crafted | Buffer): Outcome {
    return this.overlay.run('from_overlay', packet, { from: HOSTS.otherNode[4], vni: VNI.PODS });
  }

  fromUplink(packet: Crafted | Buffer): Outcome {
    return this.path.run('from_uplink', packet, { ifindex: IFINDEX.uplink });
  }

  toPod(packet: Crafted | Buffer): Outcome {
    return this.path.run('to_pod', packet);
  }

  [Symbol.dispose](): void {
    this.overlay[Symbol.dispose]();
    this.path[Symbol.dispose]();
  }
}

/** Every way by which a pod's policy is asked. */
export const ENTRANCES: readonly Entrance[] = [
  {
    name: 'to_pod',
    ...{ direction: 'ingress', pod: 'b', peer: 'remote', flags: NODE.TUNNEL },
    ...{ admitted: VERDICT.OK, counted: ['forwarded ingress'] },
    run: (world, packet) => world.toPod(packet),
    answer: (world, packet) => world.fromPod('b', packet),
  },
  {
    name: 'from_overlay',
    ...{ direction: 'ingress', pod: 'b', peer: 'remote', flags: NODE.TUNNEL },
    ...{ admitted: VERDICT.REDIRECT, counted: ['forwarded ingress'] },
    run: (world, packet) => world.fromOtherNode(packet),
    answer: (world, packet) => world.fromPod('b', packet),
  },
  {
    name: 'from_uplink without a tunnel',
    ...{ direction: 'ingress', pod: 'b', peer: 'remote', flags: 0 },
    ...{ admitted: VERDICT.REDIRECT, counted: ['forwarded ingress'] },
    leavesUnreadable: true,
    run: (world, packet) => world.fromUplink(packet),
    answer: (world, packet) => world.fromPod('b', packet),
  },
  {
    name: 'from_pod, for the receiver on the same node',
    ...{ direction: 'ingress', pod: 'b', peer: 'a', flags: NODE.TUNNEL },
    ...{ admitted: VERDICT.REDIRECT, counted: ['forwarded ingress', 'forwarded egress'] },
    run: (world, packet) => world.fromPod('a', packet),
    answer: (world, packet) => world.fromPod('b', packet),
  },
  {
    name: 'from_pod, for the sender',
    ...{ direction: 'egress', pod: 'a', peer: 'remote', flags: NODE.TUNNEL },
    ...{ admitted: VERDICT.REDIRECT, counted: ['forwarded egress'] },
    run: (world, packet) => world.fromPod('a', packet),
    answer: (world, packet) => world.fromOtherNode(packet),
  },
  {
    name: 'from_pod without a tunnel',
    ...{ direction: 'egress', pod: 'a', peer: 'remote', flags: 0 },
    ...{ admitted: VERDICT.OK, counted: ['forwarded egress'] },
    run: (world, packet) => world.fromPod('a', packet),
    answer: (world, packet) => world.toPod(packet),
  },
];

/** The packet that goes in through `entrance`: from the peer or to it. */
export function through(entrance: Entrance, family: Family, more: Partial<Crafted> = {}): Crafted {
  const [from, to] =
    entrance.direction === 'ingress' ? [entrance.peer, entrance.pod] : [entrance.pod, entrance.peer];
  return {
    from: HOSTS[from][family],
    to: HOSTS[to][family],
    ...{ protocol: 6, sourcePort: 40_001, destinationPort: 8080 },
    ...more,
  };
}

/** The packet that answers it. */
export function back(packet: Crafted, more: Partial<Crafted> = {}): Crafted {
  const { from, to, sourcePort, destinationPort } = packet;
  return {
    ...packet,
    from: to,
    to: from,
    ...(destinationPort === undefined ? {} : { sourcePort: destinationPort }),
    ...(sourcePort === undefined ? {} : { destinationPort: sourcePort }),
    ...more,
  };
}

/** Isolates the pod by `set` in the entrance's direction, and by `other` in the opposite one. */
export function isolate(world: World, entrance: Entrance, set: number, other = 0): void {
  const ingress = entrance.direction === 'ingress';
  world.path.isolate(entrance.pod, {
    ingressSet: ingress ? set : other,
    egressSet: ingress ? other : set,
  });
}

/** Another label of the peer. */
export function relabel(world: World, entrance: Entrance, identity: number): void {
  const { peer } = entrance;
  if (peer === 'a')
    world.path.know('a', {
      ...{ flags: EP.LOCAL, ifindex: IFINDEX.a, identity, mac: '02:00:00:00:00:0a' },
    });
  else world.path.know(peer, { node: addressBytes(HOSTS.otherNode[4]), identity });
}

/** The peer's identity, until it is relabelled. */
export function identityOf(entrance: Entrance): number {
  return entrance.peer === 'a' ? IDENTITIES.a : IDENTITIES.remote;
}

/** The two nodes that entrances stand on: with a tunnel and without. */
export class Worlds implements Disposable {
  readonly #all = new Map<number, World>();

  of({ flags }: Entrance): World {
    const known = this.#all.get(flags) ?? new World(flags);
    this.#all.set(flags, known);
    return known;
  }

  [Symbol.dispose](): void {
    for (const world of this.#all.values()) world[Symbol.dispose]();
  }
}

/** Pods without policy, and nothing that packets left behind. */
export function reset({ path }: World): void {
  path.clear(
    TABLES.connection,
    TABLES.fragment,
    TABLES.external,
    TABLES.affinity,
    TABLES.policy,
    TABLES.cidr,
  );
  path.isolate('a', {});
  path.isolate('b', {});
  path.know('remote', { node: addressBytes(HOSTS.otherNode[4]), identity: IDENTITIES.remote });
}
