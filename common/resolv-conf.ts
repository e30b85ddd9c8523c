import { isIP } from 'node:net';

/** The host's, or a pod's, `/etc/resolv.conf` (resolv.conf(5)). */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export type DnsPolicy = 'ClusterFirst' | 'ClusterFirstWithHostNet' | 'Default' | 'None';

/** A Pod's `spec.dnsConfig` (core/v1 PodDNSConfig). */
export interface PodDnsConfig {
  readonly nameservers?: readonly string[];
  readonly searches?: readonly string[];
  readonly options?: readonly { readonly name: string; readonly value?: string }[];
}

export interface PodDnsSettings {
  readonly namespace: string;
  readonly dnsPolicy: DnsPolicy;
  readonly hostNetwork?: boolean;
  readonly dnsConfig?: PodDnsConfig;
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  readonly upstream: ResolvConf;
}

export interface PodResolvConf extends ResolvConf {
  /** The file. */
  readonly text: string;
  /** What a limit left out, in words. */
  readonly omitted: readonly string[];
}

/** Limits that Kubernetes validates by, and glibc reads up to. */
export const nameserversMax = 3;
export const searchesMax = 32;
export const searchCharsMax = 2048;
const CLUSTER_OPTIONS: readonly string[] = ['ndots:5'];

/** Reads resolv.conf as resolvers do: all nameservers and options; the last `search` or `domain` line counts. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let searches: readonly string[] = [];
  const options: string[] = [];
  for (const line of text.split('\n')) {
    const [word = '', ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    const [first] = rest;
    if (word === 'nameserver' && first !== undefined && isIP(first) !== 0) nameservers.push(first);
    else if (word === 'search' || word === 'domain')
      searches = rest.map((one) => (one === '.' ? one : one.replace(/\.$/, '')));
    else if (word === 'options') options.push(...rest);
  }
  return { nameservers, searches, options };
}

/** What kubelet writes into a pod (Kubernetes documentation, "DNS for Services and Pods"). */
export function podResolvConf(settings: PodDnsSettings): PodResolvConf {
  const { dnsConfig } = settings;
  const base = baseOf(settings);
  const nameservers = unique([...base.nameservers, ...(dnsConfig?.nameservers ?? [])]);
  const searches = unique([...base.searches, ...(dnsConfig?.searches ?? [])]);
  const options = mergedOptions(base.options, dnsConfig?.options ?? []);
  const omitted: string[] = [];
  const keptServers = nameservers.slice(0, nameserversMax);
  if (keptServers.length < nameservers.length)
    omitted.push(
      `nameservers: only ${nameserversMax} are read, left out: ${nameservers.slice(nameserversMax).join(' ')}`,
    );
  const keptSearches = withinChars(searches.slice(0, searchesMax));
  if (keptSearches.length < searches.length)
    omitted.push(
      `searches: ${searchesMax} of ${searchCharsMax} characters at most, left out: ${searches.slice(keptSearches.length).join(' ')}`,
    );
  const lines = [
    keptSearches.length > 0 ? `search ${keptSearches.join(' ')}` : '',
    ...keptServers.map((one) => `nameserver ${one}`),
    options.length > 0 ? `options ${options.join(' ')}` : '',
  ].filter((line) => line !== '');
  const text = lines.map((line) => `${line}\n`).join('');
  return { nameservers: keptServers, searches: keptSearches, options, text, omitted };
}

function baseOf(settings: PodDnsSettings): ResolvConf {
  const { dnsPolicy, namespace, clusterDns, clusterDomain, upstream } = settings;
  if (dnsPolicy === 'None') return { nameservers: [], searches: [], options: [] };
  const onHost = dnsPolicy === 'ClusterFirst' && settings.hostNetwork === true;
  if (dnsPolicy === 'Default' || onHost || clusterDns.length === 0) return upstream;
  const cluster = [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  return {
    nameservers: clusterDns,
    searches: unique([...cluster, ...upstream.searches]),
    options: CLUSTER_OPTIONS,
  };
}

/** An option of the pod replaces one of the same name. */
function mergedOptions(
  base: readonly string[],
  own: NonNullable<PodDnsConfig['options']>,
): readonly string[] {
  const merged = new Map(base.map((text) => [text.split(':')[0] ?? text, text]));
  for (const { name, value } of own)
    merged.set(name, value === undefined || value === '' ? name : `${name}:${value}`);
  return [...merged.values()];
}

function unique(texts: readonly string[]): readonly string[] {
  return [...new Set(texts)];
}

function withinChars(searches: readonly string[]): readonly string[] {
  let chars = 0;
  const cut = searches.findIndex((one, index) => {
    chars += one.length + (index > 0 ? 1 : 0);
    return chars > searchCharsMax;
  });
  return cut < 0 ? searches : searches.slice(0, cut);
}
