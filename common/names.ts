import { CLUSTER_DOMAIN } from './contracts.ts';

/** `catalog.shop.svc.cluster.local`. */
export function serviceHost(namespace: string, name: string): string {
  return `${name}.${namespace}.svc.${CLUSTER_DOMAIN}`;
}

/**
 * The key of a destination, which is also the name of its xDS Listener and RouteConfiguration (as proxyless gRPC expects:
 * the target after `xds:///`): `catalog.shop.svc.cluster.local:80`.
 */
export function destinationKey(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The xDS Cluster of one Service port, which also names its endpoints: `outbound|80||catalog.shop.svc.cluster.local`. */
export function clusterName(namespace: string, name: string, port: number): string {
  return `outbound|${port}||${serviceHost(namespace, name)}`;
}

export interface ClusterNameParts {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
}

/** The Service port behind a cluster name, or undefined where the name is not one of ours. */
export function parseClusterName(cluster: string): ClusterNameParts | undefined {
  const match = /^outbound\|(\d{1,5})\|\|([^.|]+)\.([^.|]+)\.svc\.(.+)$/.exec(cluster);
  if (match === null || match[4] !== CLUSTER_DOMAIN) return undefined;
  const [, port, name, namespace] = match;
  if (port === undefined || name === undefined || namespace === undefined) return undefined;
  return { namespace, name, port: Number(port) };
}

/**
 * The full Service names that `host` may mean for a pod of `fromNamespace`, most likely first: the search path kubelet
 * writes (Kubernetes "DNS for Services and Pods"), for a host of up to the given labels. An IP address, a full name of
 * another domain, or a name with a trailing dot outside the cluster gives an empty list: it is external.
 */
export function serviceHostCandidates(host: string, fromNamespace: string): readonly string[] {
  const name = host.toLowerCase();
  if (name.endsWith('.')) {
    const absolute = name.slice(0, -1);
    return absolute.endsWith(`.svc.${CLUSTER_DOMAIN}`) ? [absolute] : [];
  }
  if (name === '' || name.includes(':') || /^\d+\.\d+\.\d+\.\d+$/.test(name)) return [];
  if (name.endsWith(`.svc.${CLUSTER_DOMAIN}`)) return [name];
  if (name === 'localhost') return [];
  const labels = name.split('.');
  if (labels.length === 1) return [serviceHost(fromNamespace, name)];
  if (labels.length === 2) return [`${name}.svc.${CLUSTER_DOMAIN}`];
  if (labels.length === 3 && labels[2] === 'svc') return [`${name}.${CLUSTER_DOMAIN}`];
  return [];
}
