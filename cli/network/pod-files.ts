import { CLUSTER_DOMAIN } from '../../common/contracts.ts';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, textAt } from '../kube/fields.ts';
import { DNS_ADDRESS } from './layout.ts';

/** Kubernetes' limits on what a pod may ask for (API reference, PodDNSConfig). */
const nameserversMax = 3;
const searchesMax = 32;
const hostNameMax = 63;

/** The pod's own host name, as kubelet gives it. */
export function hostNameOf(pod: KubeObject, nodeName: string): string {
  if (at(pod.spec, 'hostNetwork') === true) return nodeName;
  const name = textAt(pod.spec, 'hostname') ?? pod.metadata.name;
  return name.slice(0, hostNameMax).replace(/[-.]+$/, '');
}

/** `/etc/hosts` as kubelet manages it; `machine` is that of the node, for pods of its network. */
export function hostsFile(pod: KubeObject, ips: readonly string[], machine: string): string {
  const aliases = listAt(pod.spec, 'hostAliases').map(
    (alias) => `${textAt(alias, 'ip')}\t${listAt(alias, 'hostnames').map(String).join('\t')}`,
  );
  const added = aliases.length === 0 ? [] : ['# Entries added by HostAliases.', ...aliases];
  if (at(pod.spec, 'hostNetwork') === true) return [machine.trimEnd(), ...added, ''].join('\n');
  const name = hostNameOf(pod, '');
  const subdomain = textAt(pod.spec, 'subdomain');
  const namespace = pod.metadata.namespace ?? 'default';
  const full = subdomain === undefined ? '' : `${name}.${subdomain}.${namespace}.svc.${CLUSTER_DOMAIN}\t`;
  return [
    ...['# Kubernetes-managed hosts file.', '127.0.0.1\tlocalhost'],
    ...['::1\tlocalhost ip6-localhost ip6-loopback', 'fe00::0\tip6-localnet', 'fe00::0\tip6-mcastprefix'],
    ...['fe00::1\tip6-allnodes', 'fe00::2\tip6-allrouters', ...ips.map((ip) => `${ip}\t${full}${name}`)],
    ...[...added, ''],
  ].join('\n');
}

interface Resolver {
  nameservers: string[];
  searches: string[];
  options: string[];
}

/** `/etc/resolv.conf` by `dnsPolicy` and `dnsConfig` (Kubernetes, "DNS for Services and Pods"); `machine` is the node's. */
export function resolvConf(pod: KubeObject, machine: string): string {
  const resolver = base(pod, machine);
  const config = at(pod.spec, 'dnsConfig');
  const added = (key: string) => listAt(config, key).map(String);
  const options = listAt(config, 'options').map((option) => {
    const value = textAt(option, 'value');
    return value === undefined ? (textAt(option, 'name') ?? '') : `${textAt(option, 'name')}:${value}`;
  });
  const named = new Set(options.map((option) => option.split(':')[0]));
  const kept = resolver.options.filter((option) => !named.has(option.split(':')[0]));
  const nameservers = unique([...resolver.nameservers, ...added('nameservers')]).slice(0, nameserversMax);
  const searches = unique([...resolver.searches, ...added('searches')]).slice(0, searchesMax);
  return [
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(searches.length === 0 ? [] : [`search ${searches.join(' ')}`]),
    ...(kept.length + options.length === 0 ? [] : [`options ${[...kept, ...options].join(' ')}`]),
    '',
  ].join('\n');
}

function base(pod: KubeObject, machine: string): Resolver {
  const policy = textAt(pod.spec, 'dnsPolicy') ?? 'ClusterFirst';
  const onNode = at(pod.spec, 'hostNetwork') === true;
  if (policy === 'None') return { nameservers: [], searches: [], options: [] };
  const node = parsed(machine);
  if (policy === 'Default' || (policy === 'ClusterFirst' && onNode)) return node;
  const namespace = pod.metadata.namespace ?? 'default';
  const cluster = [`${namespace}.svc.${CLUSTER_DOMAIN}`, `svc.${CLUSTER_DOMAIN}`, CLUSTER_DOMAIN];
  return {
    nameservers: [DNS_ADDRESS],
    searches: [...cluster, ...node.searches],
    options: ['ndots:5'],
  };
}

function parsed(text: string): Resolver {
  const resolver: Resolver = { nameservers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver') resolver.nameservers.push(...rest.slice(0, 1));
    if (word === 'search' || word === 'domain') resolver.searches = rest;
    if (word === 'options') resolver.options.push(...rest);
  }
  return resolver;
}

function unique(values: readonly JsonValue[]): string[] {
  return [...new Set(values.map(String))];
}
