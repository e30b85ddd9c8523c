/** A Service with TCP endpoints, as kube-proxy sees it. */
export interface ProxiedService {
  readonly clusterIp: string;
  readonly port: number;
  readonly endpoints: readonly { readonly ip: string; readonly port: number }[];
}

/** Who may reach a pod, as one NetworkPolicy says it. */
export interface IngressRule {
  readonly cidr: string;
  readonly port: number;
}

/**
 * What flannel writes on each node as its manifest starts it, with `--ip-masq` (pkg/trafficmngr/iptables): pods reach the world by
 * the node's address, and what is forwarded to and from them is accepted.
 */
export function flannelRules(podRange: string): string {
  const own = comments('flanneld masq');
  return [
    '*nat',
    ':FLANNEL-POSTRTG - [0:0]',
    `-A POSTROUTING ${own} -j FLANNEL-POSTRTG`,
    `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${own} -j RETURN`,
    `-A FLANNEL-POSTRTG -s ${podRange} -d ${podRange} ${own} -j RETURN`,
    `-A FLANNEL-POSTRTG -s ${podRange} ! -d 224.0.0.0/4 ${own} -j MASQUERADE --random-fully`,
    `-A FLANNEL-POSTRTG ! -s ${podRange} -d ${podRange} ${own} -j MASQUERADE --random-fully`,
    'COMMIT',
    '*filter',
    ':FLANNEL-FWD - [0:0]',
    `-A FORWARD ${comments('flanneld forward')} -j FLANNEL-FWD`,
    `-A FLANNEL-FWD -s ${podRange} ${comments('flanneld forward')} -j ACCEPT`,
    `-A FLANNEL-FWD -d ${podRange} ${comments('flanneld forward')} -j ACCEPT`,
    'COMMIT',
    '',
  ].join('\n');
}

/**
 * What kube-proxy writes in its mode iptables (pkg/proxy/iptables/proxier.go of Kubernetes 1.31): a rule for each Service that
 * is looked at in turn, a chain for each Service and each endpoint, and the marks of masquerade.
 */
export function kubeProxyRules(services: readonly ProxiedService[], podRange: string): string {
  const nat: string[] = [];
  const chains = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ'];
  for (const [number, service] of services.entries()) {
    const { clusterIp, port, endpoints } = service;
    const chain = `KUBE-SVC-${number}`;
    const to = `-d ${clusterIp}/32 -p tcp -m tcp --dport ${port}`;
    const comment = comments(`bench/service-${number}`);
    chains.push(chain);
    nat.push(`-A KUBE-SERVICES ${to} ${comment} -j ${chain}`);
    nat.push(`-A ${chain} ! -s ${podRange} ${to} ${comment} -j KUBE-MARK-MASQ`);
    for (const [index, endpoint] of endpoints.entries()) {
      const own = `KUBE-SEP-${number}-${index}`;
      const left = endpoints.length - index;
      const share = left === 1 ? '' : `-m statistic --mode random --probability ${(1 / left).toFixed(10)} `;
      chains.push(own);
      nat.push(`-A ${chain} ${comment} ${share}-j ${own}`);
      nat.push(`-A ${own} -s ${endpoint.ip}/32 ${comment} -j KUBE-MARK-MASQ`);
      nat.push(`-A ${own} -p tcp ${comment} -m tcp -j DNAT --to-destination ${endpoint.ip}:${endpoint.port}`);
    }
  }
  return [...natTable(chains, nat), ...FILTER_TABLE, ''].join('\n');
}

/**
 * What a policy agent over iptables writes for one isolated pod, as kube-router does: a chain for the pod, which connections
 * that are known leave at once, and a chain for each policy.
 */
export function policyRules(podIp: string, policies: readonly IngressRule[]): string {
  const [pod, allowed] = ['KUBE-POD-FW-0', '0x10000/0x10000'];
  const names = policies.map((_, number) => `KUBE-NWPLCY-${number}`);
  const lines = [
    `-I FORWARD ${comments('pod firewall')} -d ${podIp}/32 -j ${pod}`,
    `-I OUTPUT ${comments('pod firewall')} -d ${podIp}/32 -j ${pod}`,
    `-A ${pod} ${comments('stateful')} -m conntrack --ctstate INVALID -j DROP`,
    `-A ${pod} ${comments('stateful')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-A ${pod} ${comments('its node')} -m addrtype --src-type LOCAL -d ${podIp}/32 -j ACCEPT`,
    ...names.map((name) => `-A ${pod} ${comments('policy')} -j ${name}`),
    `-A ${pod} ${comments('nobody allowed it')} -m mark ! --mark ${allowed} -j DROP`,
    `-A ${pod} -j MARK --set-mark 0/0x10000`,
  ];
  for (const [number, { cidr, port }] of policies.entries()) {
    const name = names[number] ?? '';
    lines.push(`-A ${name} -s ${cidr} -p tcp -m tcp --dport ${port} -j MARK --set-xmark ${allowed}`);
    lines.push(`-A ${name} -m mark --mark ${allowed} -j RETURN`);
  }
  return ['*filter', ...[pod, ...names].map((name) => `:${name} - [0:0]`), ...lines, 'COMMIT', ''].join('\n');
}

/** What Istio's init container writes into a pod's namespace for a sidecar of this user. */
export function redirectRules(uid: number, outbound: number, inbound: number): string {
  return [
    '*nat',
    ':ISTIO_INBOUND - [0:0]',
    ':ISTIO_IN_REDIRECT - [0:0]',
    ':ISTIO_OUTPUT - [0:0]',
    ':ISTIO_REDIRECT - [0:0]',
    '-A PREROUTING -p tcp -j ISTIO_INBOUND',
    '-A OUTPUT -p tcp -j ISTIO_OUTPUT',
    '-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN',
    '-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN',
    '-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN',
    '-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN',
    '-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT',
    `-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports ${inbound}`,
    '-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN',
    `-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner ${uid} -j RETURN`,
    `-A ISTIO_OUTPUT -m owner --uid-owner ${uid} -j RETURN`,
    '-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN',
    '-A ISTIO_OUTPUT -j ISTIO_REDIRECT',
    `-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports ${outbound}`,
    'COMMIT',
    '',
  ].join('\n');
}

function natTable(chains: readonly string[], rules: readonly string[]): readonly string[] {
  return [
    '*nat',
    ...chains.map((name) => `:${name} - [0:0]`),
    `-A PREROUTING ${comments('service portals')} -j KUBE-SERVICES`,
    `-A OUTPUT ${comments('service portals')} -j KUBE-SERVICES`,
    `-A POSTROUTING ${comments('postrouting')} -j KUBE-POSTROUTING`,
    '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
    `-A KUBE-POSTROUTING ${comments('service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
    ...rules,
    `-A KUBE-SERVICES ${comments('node ports come last')} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
    'COMMIT',
  ];
}

const FILTER_CHAINS = ['KUBE-EXTERNAL-SERVICES', 'KUBE-FORWARD', 'KUBE-PROXY-FIREWALL', 'KUBE-SERVICES'];

const FILTER_TABLE: readonly string[] = [
  '*filter',
  ...FILTER_CHAINS.map((name) => `:${name} - [0:0]`),
  ...['INPUT', 'FORWARD', 'OUTPUT'].map(
    (hook) => `-A ${hook} -m conntrack --ctstate NEW ${comments('firewall')} -j KUBE-PROXY-FIREWALL`,
  ),
  `-A FORWARD ${comments('forwarding rules')} -j KUBE-FORWARD`,
  ...['FORWARD', 'OUTPUT'].map(
    (hook) => `-A ${hook} -m conntrack --ctstate NEW ${comments('service portals')} -j KUBE-SERVICES`,
  ),
  `-A FORWARD -m conntrack --ctstate NEW ${comments('external portals')} -j KUBE-EXTERNAL-SERVICES`,
  '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
  `-A KUBE-FORWARD ${comments('forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
  `-A KUBE-FORWARD ${comments('conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  'COMMIT',
];

function comments(text: string): string {
  return `-m comment --comment "${text}"`;
}
