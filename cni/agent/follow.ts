import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { followObjects } from '../../sources/open.ts';
import type { Changes } from './changes.ts';
import { type ClusterObjects, clusterObjects, withOwnNode } from './cluster.ts';
import { NETWORK_KINDS } from './kinds.ts';
import { type ClusterNode, clusterNodes } from './nodes.ts';
import type { AgentOptions } from './options.ts';

/** Between lines that say what a start waits for. */
const waitingLogMs = 10_000;

interface Deps {
  readonly clock: Clock;
  readonly log: Logger;
}

/** The cluster's objects, as they are now. */
export interface Cluster {
  current(): ClusterObjects;
  /** Calls `changed` from now on, after each change. */
  follow(changed: (nodes: ReadonlyMap<string, ClusterNode>) => void): void;
  close(): void;
}

/** Follows the objects that the pod network goes by. */
export async function followCluster(
  options: AgentOptions,
  { clock, log }: Deps,
  changes: Changes,
): Promise<Cluster> {
  let told = (): void => undefined;
  let current: ClusterObjects | undefined;
  let gone = false;
  const source = await followObjects(options, NETWORK_KINDS, {
    ...{ clock, log },
    onChange: ({ objects }) => {
      const found = clusterObjects(objects, current);
      current = withOwnNode(found, current, options.node);
      if (current !== found && !gone)
        log.warn('the Node object of this node is gone: the node stays as it was', { node: options.node });
      gone = current !== found;
      changes.notify();
      told();
    },
  });
  const now = () => (current ??= clusterObjects(source.current().objects));
  return {
    current: now,
    follow: (changed) => {
      told = () => changed(clusterNodes(now().nodes));
      told();
    },
    close: () => source.close(),
  };
}

/** The Node object of this node, once it says what pods are to be given. */
export async function ownNode(
  { node, mode }: AgentOptions,
  { log }: Deps,
  cluster: () => ClusterObjects,
  changes: Changes,
): Promise<ClusterNode> {
  for (;;) {
    const found = await changes.until(
      () => {
        const own = clusterNodes(cluster().nodes).get(node);
        const whole = own !== undefined && own.addresses.length > 0;
        return whole && (mode === 'capture' || own.podBlocks.length > 0) ? own : undefined;
      },
      { timeoutMs: waitingLogMs },
    );
    if (found !== undefined) return found;
    log.warn('waiting for the Node object of this node', {
      node,
      lacks: whatNodeLacks(cluster(), node, mode),
    });
  }
}

/** What a start waits for, and who should see to it. */
function whatNodeLacks({ nodes }: ClusterObjects, name: string, mode: AgentOptions['mode']): string {
  const own = clusterNodes(nodes).get(name);
  if (own === undefined) return 'there is none of this name: the kubelet makes it; see --node';
  if (own.addresses.length === 0) return 'its status has no InternalIP: the kubelet sets it';
  return mode === 'capture'
    ? 'nothing'
    : 'its spec has no podCIDRs: the controller manager gives them with --allocate-node-cidrs and --cluster-cidr';
}
