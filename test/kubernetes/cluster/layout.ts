import { homedir } from 'node:os';
import { join } from 'node:path';
import { readIfThere } from '../../../common/atomic-file.ts';
import { HeddleError } from '../../../common/errors.ts';

/** What a cluster's addresses are. All of them stand in its own network namespaces, so that clusters don't meet. */
export const ADDRESSES = {
  /** The world's side of the underlay: a bridge that all nodes hang on, and their default route. */
  worldIp4: '10.200.0.1',
  worldIp6: 'fd10:200::1',
  apiServerPort: 6443,
  podRanges: '10.244.0.0/16,fd10:244::/56',
  serviceRanges: '10.96.0.0/16,fd10:96::/112',
  /** Of Service `kubernetes`: the first of the range. */
  apiServerServiceIp: '10.96.0.1',
  dnsServiceIp: '10.96.0.10',
} as const;

/** Each has an address .11, .12, … of the underlay. */
const nodesMax = 8;
const NAME = /^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$/;

/** Where a node sees its own folder `home`. */
export const NODE_HOME = '/heddle-node';

export interface NodeLayout {
  /** From 1 on. The first also runs the control plane. */
  readonly number: number;
  /** Of the Node object, and its host name. */
  readonly name: string;
  readonly ip4: string;
  readonly ip6: string;
  /** Path of its network namespace. */
  readonly netns: string;
  /** Under every cgroup hierarchy: `hdk-NAME/node-1`. */
  readonly cgroup: string;
  /** What its programs read and log; NODE_HOME in its own eyes. */
  readonly home: string;
  /** Its root file system. */
  readonly root: string;
}

export interface ClusterLayout {
  readonly name: string;
  /** Holds everything that a cluster keeps in files. */
  readonly directory: string;
  readonly pki: string;
  /** Reaches the API server from the machine's own network, by the relay. */
  readonly kubeconfig: string;
  /** Reaches it from the namespaces of the nodes and of the world. */
  readonly kubeconfigInside: string;
  readonly relayLog: string;
  /** Prefix of its network namespaces, and the folder in every cgroup hierarchy. */
  readonly prefix: string;
  /** Path of the network namespace of clients outside of the cluster. */
  readonly world: string;
  /** Runs the control plane, and pods where the cluster has nodes at all. */
  readonly first: NodeLayout;
  /** Those that run pods. */
  readonly nodes: readonly NodeLayout[];
}

/** Clusters are the machine's, not the user's: their namespaces and cgroups are. */
export const CLUSTERS = '/var/tmp/heddle-kubernetes';

/** Names and places of a cluster. Throws HeddleError `usage` at a name or a number of nodes that can't be. */
export function layoutOf(name: string, nodeCount: number): ClusterLayout {
  if (!NAME.test(name))
    throw new HeddleError(
      'usage',
      `"${name}" is no name of a cluster: up to 20 of a-z, 0-9 and -, such as ci-1`,
    );
  if (!Number.isInteger(nodeCount) || nodeCount < 0 || nodeCount > nodesMax)
    throw new HeddleError('usage', `a cluster has 0 to ${nodesMax} nodes, not ${nodeCount}`);
  const prefix = `hdk-${name}`;
  const directory = join(CLUSTERS, name);
  const first = nodeOf(prefix, directory, 1);
  return {
    ...{ name, directory, prefix, first, world: `/run/netns/${prefix}-world` },
    pki: join(directory, 'pki'),
    kubeconfig: join(directory, 'kubeconfig'),
    kubeconfigInside: join(directory, 'kubeconfig-inside'),
    relayLog: join(directory, 'relay.log'),
    nodes: Array.from({ length: nodeCount }, (_, index) =>
      index === 0 ? first : nodeOf(prefix, directory, index + 1),
    ),
  };
}

/** Of a cluster that stands: `up` has left its number of nodes. Throws HeddleError `usage` where there is none. */
export function standingLayout(name: string): ClusterLayout {
  const text = readIfThere(sizeFile(layoutOf(name, 0)));
  if (text === undefined) throw new HeddleError('usage', `no cluster ${name} stands here: bring it up first`);
  return layoutOf(name, Number(text));
}

/** Holds the PID of the process whose end is the cluster's too; there is none where people brought it up. */
export function ownerFile({ directory }: ClusterLayout): string {
  return join(directory, 'owner');
}

/** Holds the number of nodes. */
export function sizeFile({ directory }: ClusterLayout): string {
  return join(directory, 'nodes');
}

function nodeOf(prefix: string, directory: string, number: number): NodeLayout {
  const name = `node-${number}`;
  return {
    ...{ number, name, ip4: `10.200.0.${10 + number}`, ip6: `fd10:200::${10 + number}` },
    netns: `/run/netns/${prefix}-${name}`,
    cgroup: `${prefix}/${name}`,
    home: join(directory, name, 'home'),
    root: join(directory, name, 'root'),
  };
}

/** Where built parts are kept, of all clusters and checkouts. */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>>): string {
  const cache = environment.XDG_CACHE_HOME;
  return join(cache === undefined || cache === '' ? join(homedir(), '.cache') : cache, 'heddle/kubernetes');
}
