import { isIPv4 } from 'node:net';
import type { KubeObject } from '../../model/objects.ts';
import type { Finding } from '../check/findings.ts';
import { listAt, textAt } from '../kube/fields.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { isAtLeast, unseen } from './told.ts';
import type { PlannedValues } from './values.ts';

/** Of the pod network's programs (cni/README.md, "Kernels"), and from where on nothing is done in an older way. */
const KERNEL_MIN = [5, 17] as const;
const KERNEL_BETTER = [6, 6] as const;
const ARCHITECTURES = ['amd64', 'arm64'];
/** Kubelets from here on refuse cgroup v1 themselves. */
const CGROUP2_ONLY = [1, 35] as const;

/** DaemonSets of other pod networks, and whose they are. */
const POD_NETWORKS: readonly (readonly [RegExp, string])[] = [
  [/^(calico-node|canal)$/, 'Calico'],
  [/^cilium$/, 'Cilium'],
  [/^kube-flannel(-ds)?/, 'Flannel'],
  [/^weave-net$/, 'Weave Net'],
  [/^aws-node$/, "Amazon's VPC CNI"],
  [/^azure-cn[is]/, 'Azure CNI'],
  [/^antrea-agent$/, 'Antrea'],
  [/^kindnet$/, 'kindnet'],
  [/^(netd|anetd)$/, "Google's network"],
  [/^kube-router$/, 'kube-router'],
];

/** Kernels, processors and cgroups of the nodes. */
export function checkNodes({ nodes }: ClusterFacts, { cniEnabled }: PlannedValues): readonly Finding[] {
  const about = 'nodes';
  if (nodes === undefined) return [unseen(about, 'nodes')];
  const linux = nodes.filter((node) => infoOf(node, 'operatingSystem') !== 'windows');
  if (linux.length === 0)
    return [{ level: 'warning', about, message: 'there is no Linux node: nothing of Heddle can run' }];
  const strange = linux.filter((node) => !ARCHITECTURES.includes(infoOf(node, 'architecture')));
  const findings: Finding[] = strange.map((node) => ({
    ...{ level: 'problem', about: `node ${node.metadata.name}` },
    message: `its processor is ${infoOf(node, 'architecture')}; Heddle's images are for ${ARCHITECTURES.join(' and ')}`,
    remedy: 'keep Heddle off it: nodeSelector and cni.nodeSelector in the values',
  }));
  if (nodes.length > linux.length)
    findings.push({ level: 'note', about, message: 'pods on Windows nodes stay outside of the mesh' });
  if (!cniEnabled) return findings;
  findings.push(...linux.flatMap(kernelFinding));
  if (findings.every(({ level }) => level === 'note'))
    findings.push({ level: 'good', about, message: `${linux.length}, kernels ${kernelsOf(linux)}` });
  if (linux.some((node) => !isAtLeast(infoOf(node, 'kubeletVersion'), CGROUP2_ONLY)))
    findings.push({
      ...{ level: 'note', about },
      message:
        "they must have cgroup v2, which the API doesn't tell; the agent of a node without says so in its log",
    });
  return findings;
}

function kernelFinding(node: KubeObject): readonly Finding[] {
  const kernel = infoOf(node, 'kernelVersion');
  const about = `node ${node.metadata.name}`;
  const wanted = KERNEL_MIN.join('.');
  if (!isAtLeast(kernel, KERNEL_MIN))
    return [
      {
        ...{
          level: 'problem',
          about,
          message: `its kernel is ${kernel}; the pod network needs ${wanted} or newer`,
        },
        remedy: 'upgrade the node, or keep the pod network off it: cni.nodeSelector in the values',
      },
    ];
  if (isAtLeast(kernel, KERNEL_BETTER)) return [];
  const message = `its kernel ${kernel} will do; ${KERNEL_BETTER.join('.')} or newer is better`;
  return [{ level: 'note', about, message }];
}

/** Whether another pod network stands where Heddle's is to be, and whether the agents find the API server. */
export function checkNetworks(facts: ClusterFacts, planned: PlannedValues): readonly Finding[] {
  const about = 'pod network';
  if (!planned.cniEnabled)
    return [
      {
        level: 'warning',
        about,
        message: "cni.enabled is false: nothing leads pods' traffic to their sidecars",
      },
    ];
  const { daemonSets } = facts;
  if (daemonSets === undefined) return [unseen(about, 'daemonsets')];
  const others = daemonSets.flatMap(({ metadata: { name } }) => {
    const owner = POD_NETWORKS.find(([pattern]) => pattern.test(name))?.[1];
    return owner === undefined ? [] : [owner];
  });
  const names = [...new Set(others)].join(' and ');
  if (planned.cniMode === 'capture')
    return names === ''
      ? [
          {
            level: 'warning',
            about,
            message: 'cni.mode is capture, and no pod network that is known is installed',
          },
        ]
      : [{ level: 'good', about, message: `${names} carries pods, and Heddle leads them to their sidecars` }];
  if (names !== '')
    return [
      {
        ...{ level: 'problem', about, message: `${names} is there: a cluster can't have two` },
        remedy: 'install with --set cni.mode=capture, or remove it first and start all pods anew',
      },
    ];
  return [
    { level: 'good', about, message: `Heddle's own, mode ${planned.cniMode}` },
    ...apiServer(facts, planned),
  ];
}

function apiServer({ daemonSets }: ClusterFacts, { apiServerHost }: PlannedValues): readonly Finding[] {
  const about = 'API server';
  if (apiServerHost !== '') return [{ level: 'good', about, message: `agents reach it at ${apiServerHost}` }];
  if (daemonSets?.some(({ metadata }) => metadata.name === 'kube-proxy') === true)
    return [{ level: 'good', about, message: 'agents reach it by kube-proxy' }];
  return [
    {
      ...{ level: 'warning', about },
      message:
        'there is no DaemonSet kube-proxy and no apiServerHost: agents may not find it, as they serve Services themselves',
      remedy: 'install with --set apiServerHost=ADDRESS,apiServerPort=PORT, as the nodes reach it',
    },
  ];
}

/** Whether the cluster's DNS address is free and in the range of Services. */
export function checkDns(
  { dnsServices, apiService }: ClusterFacts,
  { dnsEnabled, dnsAddress, dnsCreatesService }: PlannedValues,
): readonly Finding[] {
  const about = 'DNS';
  if (!dnsEnabled) return [];
  if (dnsServices === undefined) return [unseen(about, 'services in kube-system')];
  const [own] = dnsServices.filter(
    ({ metadata }) => metadata.labels?.['app.kubernetes.io/part-of'] === 'heddle',
  );
  const [other] = dnsServices.filter((service) => service !== own);
  if (other !== undefined)
    return [
      {
        ...{ level: 'problem', about },
        message: `Service kube-system/${other.metadata.name} has it already, at ${textAt(other.spec, 'clusterIP')}`,
        remedy: `install with --set dns.enabled=false, or with --set dns.clusterIP=${textAt(other.spec, 'clusterIP')},dns.createService=false to take over`,
      },
    ];
  const first = listAt(apiService?.spec, 'clusterIPs')[0] ?? textAt(apiService?.spec, 'clusterIP');
  if (dnsCreatesService && own === undefined && typeof first === 'string' && !sameNetwork(first, dnsAddress))
    return [
      {
        ...{ level: 'problem', about },
        message: `dns.clusterIP ${dnsAddress} is not in the range of Services, where ${first} is`,
        remedy: `install with --set dns.clusterIP=${neighbour(first)}, and the same in kubelets' clusterDNS`,
      },
    ];
  return [{ level: 'good', about, message: `at ${dnsAddress}, which kubelets must have as clusterDNS` }];
}

/** Ranges of Services are /16 to /24: more than their first two bytes can't be told from one address. */
function sameNetwork(left: string, right: string): boolean {
  const start = (address: string) =>
    (isIPv4(address) ? address.split('.') : address.split(':')).slice(0, 2).join('.');
  return isIPv4(left) === isIPv4(right) && start(left) === start(right);
}

function neighbour(first: string): string {
  return isIPv4(first) ? first.replace(/\d+$/, '10') : first.replace(/[0-9a-f]+$/, 'a');
}

function infoOf(node: KubeObject, name: string): string {
  return textAt(node.status, 'nodeInfo', name) ?? '';
}

function kernelsOf(nodes: readonly KubeObject[]): string {
  return [...new Set(nodes.map((node) => infoOf(node, 'kernelVersion')))].toSorted().join(', ');
}
