import { isIP } from 'node:net';
import { type Prefix, parsePrefix } from '../../common/address.ts';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import type { SourcedObject } from '../../model/objects.ts';

/** A node of the cluster as the pod network sees it. */
export interface ClusterNode {
  readonly name: string;
  /** InternalIP addresses of its status, in order. */
  readonly addresses: readonly string[];
  /** `spec.podCIDRs`, or `podCIDR` alone; what can't be read is left out. */
  readonly podBlocks: readonly Prefix[];
}

/** Nodes (v1) by name. */
export function clusterNodes(objects: readonly SourcedObject[]): ReadonlyMap<string, ClusterNode> {
  const found = new Map<string, ClusterNode>();
  for (const { object } of objects) {
    if (object.kind !== 'Node' || object.apiVersion !== 'v1') continue;
    const { name } = object.metadata;
    found.set(name, { name, addresses: internalIps(object.status), podBlocks: podBlocks(object.spec) });
  }
  return found;
}

/**
 * Where the tunnel to a node ends: its first IPv4 address, else its first. Every node works it out alike, so that the
 * outer source of a packet is the address its receiver expects. Undefined where it has none.
 */
export function tunnelAddress(node: ClusterNode | undefined): string | undefined {
  return node?.addresses.find((one) => isIP(one) === 4) ?? node?.addresses[0];
}

function internalIps(status: JsonValue | undefined): readonly string[] {
  if (!isJsonObject(status) || !Array.isArray(status.addresses)) return [];
  return status.addresses.flatMap((one) =>
    isJsonObject(one) &&
    one.type === 'InternalIP' &&
    typeof one.address === 'string' &&
    isIP(one.address) !== 0
      ? [one.address]
      : [],
  );
}

function podBlocks(spec: JsonValue | undefined): readonly Prefix[] {
  if (!isJsonObject(spec)) return [];
  const written = Array.isArray(spec.podCIDRs) ? spec.podCIDRs : [spec.podCIDR];
  return written.flatMap((one) => {
    if (typeof one !== 'string') return [];
    try {
      return [parsePrefix(one)];
    } catch {
      return [];
    }
  });
}
