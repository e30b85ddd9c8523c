import type { KubeObject } from '../../model/objects.ts';
import { nodeName } from '../local/services.ts';

/** Of all pods and Services of the cluster, by CONTRACTS. */
export const CLUSTER_RANGES = {
  pods: { v4: '10.244.0.0/16', v6: 'fd10:244::/56' },
  services: { v4: '10.96.0.0/16', v6: 'fd10:96::/112' },
} as const;
export const DNS_ADDRESS = '10.96.0.10';

/** Each has an address of the underlay's /24 above the bridge's own. */
export const ebpfNodesMax = 200;
const firstNodeHost = 11;
/** Names of namespaces are file names of at most 255 bytes. */
const namespaceNameMax = 200;

/** Where one node stands in the underlay. */
export interface NodePlace {
  readonly node: number;
  /** Of the Node object. */
  readonly name: string;
  readonly netns: string;
  /** The bridge's end of the veth whose other end is the node's `eth0`. */
  readonly link: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly pods4: string;
  readonly pods6: string;
}

/** Names and addresses of a mesh's underlay: a bridge in the network namespace of `heddle up`, and its nodes. */
export interface Underlay {
  readonly bridge: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly nodes: readonly NodePlace[];
}

/** Lays out the underlay with number `subnet` (0–255): 172.31.subnet.0/24 and fd10:245:0:subnet::/64. */
export function layOut(mesh: string, bridge: string, subnet: number, nodes: number): Underlay {
  const prefix6 = `fd10:245:0:${subnet.toString(16)}`;
  return {
    bridge,
    ip4: `172.31.${subnet}.1`,
    ip6: `${prefix6}::1`,
    nodes: Array.from({ length: nodes }, (_, node) => {
      const number = node + 1;
      return {
        ...{
          node,
          name: nodeName(node),
          netns: `heddle-${mesh}-node-${number}`,
          link: `${bridge}-n${number}`,
        },
        ip4: `172.31.${subnet}.${firstNodeHost + node}`,
        ip6: `${prefix6}::${(firstNodeHost + node).toString(16)}`,
        pods4: `10.244.${number}.0/24`,
        pods6: `fd10:244:0:${number.toString(16)}::/64`,
      };
    }),
  };
}

/** The name of a pod's network namespace: whoever lists them finds the mesh, the pod's uid and its name. */
export function podNamespace(mesh: string, pod: KubeObject): string {
  const { uid = '', name } = pod.metadata;
  return `heddle-${mesh}-${uid.slice(0, 8)}-${name}`.slice(0, namespaceNameMax);
}

/** Path of a named network namespace, as ip-netns(8) keeps it. */
export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}

/** Shared by all meshes of the machine. */
const RUN_DIRECTORY = '/run/heddle';

/** Sockets and state of a mesh's nodes, gone with the mesh. */
export function runDirectory(mesh: string): string {
  return `${RUN_DIRECTORY}/${mesh}`;
}

/** Where one node's processes keep what, below the mesh's folder `run`. */
export function nodePaths(run: string, node: string) {
  const root = `${run}/${node}`;
  return {
    root,
    state: `${root}/state`,
    /** Called by the CNI plugin. */
    cniSocket: `${root}/cni.sock`,
    /** Called by `heddle cni` and `heddle drops`. */
    adminSocket: `${root}/admin.sock`,
    relaySocket: `${root}/relay.sock`,
    readyFile: `${root}/ready`,
    pins: `${run}/bpf/${node}`,
  } as const;
}

/** The Node object of a node, as kubelet would register it. */
export function nodeObject(place: NodePlace, ipv6: boolean, createdAt: string): KubeObject {
  const podCIDRs = ipv6 ? [place.pods4, place.pods6] : [place.pods4];
  const addresses = (ipv6 ? [place.ip4, place.ip6] : [place.ip4]).map((address) => ({
    type: 'InternalIP',
    address,
  }));
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: place.name,
      creationTimestamp: createdAt,
      labels: { 'kubernetes.io/hostname': place.name, 'kubernetes.io/os': 'linux' },
    },
    spec: { podCIDR: place.pods4, podCIDRs },
    status: {
      addresses: [...addresses, { type: 'Hostname', address: place.name }],
      conditions: [{ type: 'Ready', status: 'True', reason: 'HeddleUp' }],
    },
  };
}
