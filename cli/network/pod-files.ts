import { CLUSTER_DOMAIN } from '../../common/contracts.ts';
import type { JsonValue } from '../../common/json.ts';
import {
  type DnsPolicy,
  type PodDnsConfig,
  parseResolvConf,
  podResolvConf,
} from '../../common/resolv-conf.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, textAt } from '../kube/fields.ts';
import { DNS_ADDRESS } from './layout.ts';

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

/** `/etc/resolv.conf` by `dnsPolicy` and `dnsConfig` (Kubernetes, "DNS for Services and Pods"); `machine` is the node's. */
export function resolvConf(pod: KubeObject, machine: string): string {
  const { nameservers, searches, options } = podResolvConf({
    namespace: pod.metadata.namespace ?? 'default',
    dnsPolicy: dnsPolicyOf(pod),
    hostNetwork: at(pod.spec, 'hostNetwork') === true,
    dnsConfig: dnsConfigOf(at(pod.spec, 'dnsConfig')),
    ...{ clusterDns: [DNS_ADDRESS], clusterDomain: CLUSTER_DOMAIN, upstream: parseResolvConf(machine) },
  });
  return [
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(searches.length === 0 ? [] : [`search ${searches.join(' ')}`]),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
    '',
  ].join('\n');
}

/** What isn't one of the policies counts as the default. */
function dnsPolicyOf(pod: KubeObject): DnsPolicy {
  const policy = textAt(pod.spec, 'dnsPolicy');
  if (policy === 'Default' || policy === 'None' || policy === 'ClusterFirstWithHostNet') return policy;
  return 'ClusterFirst';
}

function dnsConfigOf(config: JsonValue | undefined): PodDnsConfig {
  const options = listAt(config, 'options').map((option) => {
    const value = textAt(option, 'value');
    return { name: textAt(option, 'name') ?? '', ...(value === undefined ? {} : { value }) };
  });
  return {
    nameservers: listAt(config, 'nameservers').map(String),
    searches: listAt(config, 'searches').map(String),
    options,
  };
}
