import type { KubeObject } from '../../../model/objects.ts';
import type { PodOptions, TestNode } from './cluster.ts';

/** A node with a block of each family. */
export function nodeObject({
  name,
  number,
  ip4,
  ip6,
}: Pick<TestNode, 'name' | 'number' | 'ip4' | 'ip6'>): KubeObject {
  const podCIDRs = [`10.244.${number + 1}.0/24`, `fd10:244:0:${number + 1}::/64`];
  return {
    ...{ apiVersion: 'v1', kind: 'Node', metadata: { name }, spec: { podCIDR: podCIDRs[0] ?? '', podCIDRs } },
    status: { addresses: [ip4, ip6].map((address) => ({ type: 'InternalIP', address })) },
  };
}

/** A Pod that is bound to a node and has no address yet. */
export function podObject(
  name: string,
  namespace: string,
  uid: string,
  nodeName: string,
  { labels = {}, annotations = {}, meshed = false, ports = [] }: PodOptions,
): KubeObject {
  const sidecar = meshed ? [{ name: 'heddle-proxy', restartPolicy: 'Always' }] : [];
  return {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, uid, labels, annotations } },
    spec: { nodeName, initContainers: sidecar, containers: [{ name: 'app', ports: [...ports] }] },
    status: { phase: 'Pending' },
  };
}
