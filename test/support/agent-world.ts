import type { AgentView } from '../../cni/agent/admin/view.ts';
import { type DropLimits, DropLog } from '../../cni/agent/drops.ts';
import type { LocalPod } from '../../cni/agent/local-pods.ts';
import { type ClusterNode, clusterNodes } from '../../cni/agent/nodes.ts';
import { wantedMaps } from '../../cni/agent/wanted.ts';
import { DIRECTION, PROTOCOL } from '../../cni/maps/constants.ts';
import { DROP } from '../../cni/maps/drops.ts';
import { type Drop, drop as dropEvent } from '../../cni/maps/layouts.ts';
import { FILL_ORDER, type MapPlan, type PlannedMap } from '../../cni/maps/reconcile.ts';
import { encode } from '../../cni/maps/struct.ts';
import { compilePolicy } from '../../cni/policy/compile.ts';
import type { PolicyPlan } from '../../cni/policy/plan.ts';
import type { ServicePlan } from '../../cni/services/plan.ts';
import { addressBytes } from '../../common/address.ts';
import type { Clock } from '../../common/clock.ts';
import type { AgentCondition, UninstallReport } from '../../common/pod-network.ts';
import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import { MemoryMap } from './memory-map.ts';
import { object } from './model-objects.ts';
import { compiled, EMPTY_INPUT, serviceOf, sliceOf } from './service-objects.ts';

export function nodeObject(
  name: string,
  podCIDRs: readonly string[],
  addresses: readonly string[],
): SourcedObject {
  const status = { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) };
  return withStatus(object('v1', 'Node', name, { podCIDRs: [...podCIDRs] }, { namespace: '' }), status);
}

export function podObject(name: string, nodeName: string, podIP: string): SourcedObject {
  const ports = [{ name: 'http', containerPort: 8080 }];
  const spec = { nodeName, containers: [{ name: 'app', ports }] };
  const made = object('v1', 'Pod', name, spec, { labels: { app: name } });
  return withStatus(made, { phase: 'Running', podIP });
}

function withStatus(made: SourcedObject, status: KubeObject['status']): SourcedObject {
  return { ...made, object: { ...made.object, ...(status === undefined ? {} : { status }) } };
}

export function localPod(name: string, podId: number, ips: readonly string[], captured: boolean): LocalPod {
  return {
    ...{ containerId: `c${podId}`, ifname: 'eth0', netns: `/run/netns/${name}`, namespace: 'shop', name },
    ...{ uid: `u${podId}`, ips, hostIfname: `hdl${podId}`, hostIfindex: 14 + podId, podId, captured },
    ...{
      podMac: `02:00:00:00:00:0${podId}`,
      hostMac: 'ee:ee:ee:ee:ee:ee',
      netnsCookie: String(4700 + podId),
    },
    ...{ hostPorts: [], skip: { inbound: [9090], outbound: [5432], cidrs: ['192.0.2.0/24'] } },
  };
}

const NODES = clusterNodes([
  nodeObject('n1', ['10.244.1.0/24'], ['172.31.0.11']),
  nodeObject('n2', ['10.244.2.0/24'], ['172.31.0.12']),
]);
const PODS = [
  podObject('web', 'n1', '10.244.1.5'),
  podObject('db', 'n1', '10.244.1.6'),
  podObject('far', 'n2', '10.244.2.7'),
];

/**
 * The agent of node n1 as its admin socket sees it: pods `shop/web` (in the mesh) and `shop/db` here, `shop/far` on n2, the Service
 * `shop/web` at 10.96.1.1:80. Plans come from the compilers; the kernel's maps are in memory and hold what they should.
 */
export class AgentWorld implements AgentView {
  readonly drops: DropLog;
  readonly maps: Readonly<Record<PlannedMap, MemoryMap>>;
  readonly #policy: PolicyPlan;
  readonly #services: ServicePlan;
  readonly #plan: MapPlan;
  attached: readonly LocalPod[] = [
    localPod('web', 3, ['10.244.1.5'], true),
    localPod('db', 4, ['10.244.1.6'], false),
  ];
  uninstalls = 0;

  /** As it calls its node, which is n1 to the compilers all the same. */
  readonly #name: string;

  constructor(clock: Clock, policies: readonly SourcedObject[] = [], limits?: DropLimits, name = 'n1') {
    this.#name = name;
    const localPods = this.attached;
    this.#policy = compilePolicy({ namespaces: [], pods: PODS, policies, node: { name: 'n1', localPods } });
    this.#services = compiled({
      ...EMPTY_INPUT,
      services: [
        serviceOf('web', {
          clusterIP: '10.96.1.1',
          type: 'NodePort',
          ports: [{ port: 80, nodePort: 30_080 }],
        }),
      ],
      ...{ endpointSlices: [sliceOf('web', ['10.244.1.5 n1'])], dnsAddresses: ['10.96.0.10'] },
    });
    this.#plan = wantedMaps({
      node: {
        ...{ name: 'n1', mode: 'tunnel', netnsCookie: 99n, tunnelIfindex: 4, tunnelMtu: 1450 },
        uplinkIfindex: 2,
        ...{
          uplinkMac: '02:00:00:00:00:01',
          dnsAddresses: ['10.96.0.10'],
          controlPlane: this.controlPlane(),
        },
      },
      ...{ nodes: NODES, pods: PODS, localPods, policy: this.#policy, services: this.#services },
      sidecars: this.sidecars(),
    });
    const maps = FILL_ORDER.map((name) => {
      const map = new MemoryMap(name);
      map.updateBatch([...this.#plan.wanted[name].values()].map(({ key, value }) => [key, value]));
      return [name, map] as const;
    });
    this.maps = Object.fromEntries(maps) as Record<PlannedMap, MemoryMap>;
    this.drops = new DropLog({
      ...{ node: name, clock, bootTimeNs: () => bootTimeNs(clock) },
      ...(limits === undefined ? {} : { limits }),
    });
    this.drops.know(this.knowledge());
  }

  /** What the log of drops is told. */
  knowledge() {
    return {
      ...{ localPods: this.attached, pods: this.pods(), nodes: NODES, services: this.#services },
      ...{ controlPlane: this.controlPlane(), policy: this.#policy },
    };
  }

  condition(): AgentCondition {
    return {
      ...{
        node: this.#name,
        mode: 'tunnel',
        version: '0.1.0',
        startedAt: '2026-01-01T00:00:00.000Z',
        ready: true,
      },
      ...{ reason: '', mtu: 1450, addresses: ['172.31.0.11'], driftRepaired: 2, lastError: undefined },
      blocks: [{ block: '10.244.1.0/24', usable: 253, given: 2 }],
      lastRound: {
        ...{ at: '2026-01-01T00:00:01.000Z', seconds: 0.004 },
        changes: { endpoint: { added: 5, changed: 0, removed: 0 } },
      },
      programs: [
        {
          name: 'from_pod',
          target: 'pod shop/web',
          pin: '/sys/fs/bpf/heddle/n1/links/pods/3/from_pod',
          attached: true,
        },
        {
          name: 'connect4',
          target: 'cgroup /c',
          pin: '/sys/fs/bpf/heddle/n1/links/connect4',
          attached: false,
        },
      ],
    };
  }

  localPods(): readonly LocalPod[] {
    return this.attached;
  }
  nodes(): ReadonlyMap<string, ClusterNode> {
    return NODES;
  }
  controlPlane(): readonly string[] {
    return ['172.31.0.1'];
  }
  pods(): readonly SourcedObject[] {
    return PODS;
  }
  policy(): PolicyPlan {
    return this.#policy;
  }
  services(): ServicePlan {
    return this.#services;
  }
  plan(): MapPlan {
    return this.#plan;
  }
  sidecars(): ReadonlyMap<number, bigint> {
    return new Map([[3, 1234n]]);
  }
  readMap(map: PlannedMap): Iterable<readonly [Uint8Array, Uint8Array]> {
    return this.maps[map].entries();
  }
  async repair(): Promise<number> {
    return 3;
  }
  async uninstall(): Promise<UninstallReport> {
    this.uninstalls++;
    return { removed: ['device heddle_vxlan'], failed: [] };
  }

  /** The set that isolates a local pod. */
  setOf(name: string, direction: 'ingress' | 'egress'): number {
    const pod = this.#policy.localPods.get(`shop/${name}`);
    return (direction === 'ingress' ? pod?.ingressSet : pod?.egressSet) ?? 0;
  }
}

/** Boot time of a machine that started an hour before the clock. */
function bootTimeNs(clock: Clock): bigint {
  return 3_600_000_000_000n + BigInt(Math.round(clock.now() * 1e6));
}

export interface EventPart extends Partial<Omit<Drop, 'source' | 'destination' | 'atNs'>> {
  readonly source?: string;
  readonly destination?: string;
  /** Before now. */
  readonly ageMs?: number;
}

/** An event of the kernel's ring: from `shop/far` to `shop/db`, TCP port 8080, dropped by policy on its way in. */
export function dropBytes(clock: Clock, part: EventPart = {}): Buffer {
  const { source = '10.244.2.7', destination = '10.244.1.6', ageMs = 0, ...rest } = part;
  return encode(dropEvent, {
    ...{ atNs: bootTimeNs(clock) - BigInt(ageMs * 1e6), sourcePort: 40_000, destinationPort: 8080 },
    ...{ protocol: PROTOCOL.TCP, direction: DIRECTION.INGRESS, reason: DROP.POLICY.code, family: 4 },
    ...{ set: 0, bytes: 60, ...rest },
    ...{ source: addressBytes(source), destination: addressBytes(destination) },
  });
}
