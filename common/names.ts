import { isIP } from 'node:net';
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
  return Number(port) >= 1 && Number(port) <= 65_535 ? { namespace, name, port: Number(port) } : undefined;
}

/** A name as DNS may carry it (RFC 1035, section 2.3.4): labels of up to 63 characters, 253 together. */
const hostLengthMax = 253;
const HOST = /^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*$/;
const SERVICE_SUFFIX = `.svc.${CLUSTER_DOMAIN}`;

/**
 * The full Service names that `host` may mean for a pod of `fromNamespace`, most likely first: the search path kubelet
 * writes (Kubernetes "DNS for Services and Pods"), for a host of up to the given labels. An IP address, a full name of
 * another domain, a name with a trailing dot outside the cluster, or what can't be a DNS name gives an empty list: it is
 * external.
 */
export function serviceHostCandidates(host: string, fromNamespace: string): readonly string[] {
  const full = fullName(host.toLowerCase(), fromNamespace);
  return full !== undefined && full.length <= hostLengthMax && HOST.test(full) ? [full] : [];
}

function fullName(name: string, fromNamespace: string): string | undefined {
  if (name.endsWith('.')) {
    const absolute = name.slice(0, -1);
    return absolute.endsWith(SERVICE_SUFFIX) ? absolute : undefined;
  }
  if (name.endsWith(SERVICE_SUFFIX)) return name;
  if (name === 'localhost' || isIP(name) !== 0) return undefined;
  const labels = name.split('.');
  if (labels.length === 1) return serviceHost(fromNamespace, name);
  if (labels.length === 2) return `${name}${SERVICE_SUFFIX}`;
  if (labels.length === 3 && labels[2] === 'svc') return `${name}.${CLUSTER_DOMAIN}`;
  return undefined;
}
