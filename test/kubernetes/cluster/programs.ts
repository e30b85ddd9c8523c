import type { USERS } from './certificates.ts';
import { ADDRESSES, type ClusterLayout, NODE_HOME, type NodeLayout } from './layout.ts';

/** A program that node.sh starts in the order of the list and keeps running, and its command line. */
export interface NodeProgram {
  readonly name: string;
  readonly command: readonly string[];
  /** A socket that must be there before it is started. */
  readonly after?: string;
}

const PKI = `${NODE_HOME}/pki`;
const ETCD = 'http://127.0.0.1:2379';
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

/** As https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ has it; nothing but the defaults is enabled. */
function apiServer({ first }: ClusterLayout): readonly string[] {
  return [
    ...[
      `--etcd-servers=${ETCD}`,
      `--secure-port=${ADDRESSES.apiServerPort}`,
      `--advertise-address=${first.ip4}`,
    ],
    ...[
      '--authorization-mode=Node,RBAC',
      '--enable-admission-plugins=NodeRestriction',
      '--allow-privileged=true',
    ],
    ...[`--client-ca-file=${PKI}/ca.crt`, `--cert-dir=${NODE_HOME}/run`],
    ...[`--tls-cert-file=${PKI}/apiserver.crt`, `--tls-private-key-file=${PKI}/apiserver.key`],
    ...[`--service-account-key-file=${PKI}/sa.pub`, `--service-account-signing-key-file=${PKI}/sa.key`],
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-cluster-ip-range=${ADDRESSES.serviceRanges}`,
    ...['--kubelet-preferred-address-types=InternalIP', `--kubelet-certificate-authority=${PKI}/ca.crt`],
    `--kubelet-client-certificate=${PKI}/apiserver-kubelet-client.crt`,
    `--kubelet-client-key=${PKI}/apiserver-kubelet-client.key`,
    ...[`--requestheader-client-ca-file=${PKI}/ca.crt`, '--requestheader-allowed-names=front-proxy-client'],
    ...['--requestheader-username-headers=X-Remote-User', '--requestheader-group-headers=X-Remote-Group'],
    '--requestheader-extra-headers-prefix=X-Remote-Extra-',
    ...[
      `--proxy-client-cert-file=${PKI}/front-proxy-client.crt`,
      `--proxy-client-key-file=${PKI}/front-proxy-client.key`,
    ],
  ];
}

function controllerManager(): readonly string[] {
  return [
    ...[`--kubeconfig=${kubeconfigFile('kube-controller-manager')}`, '--leader-elect=false'],
    // Its own 20 calls a second would have the start of all controllers take five seconds.
    ...['--kube-api-qps=500', '--kube-api-burst=1000'],
    ...['--use-service-account-credentials', `--service-account-private-key-file=${PKI}/sa.key`],
    ...[`--root-ca-file=${PKI}/ca.crt`, `--cluster-signing-cert-file=${PKI}/ca.crt`],
    ...[
      `--cluster-signing-key-file=${PKI}/ca.key`,
      '--allocate-node-cidrs',
      `--cluster-cidr=${ADDRESSES.podRanges}`,
    ],
    ...[`--service-cluster-ip-range=${ADDRESSES.serviceRanges}`],
    ...['--node-cidr-mask-size-ipv4=24', '--node-cidr-mask-size-ipv6=64'],
  ];
}

/** `kubernetes` and `etcd` are the paths of the binaries. */
export function controlPlanePrograms(
  cluster: ClusterLayout,
  { kubernetes, etcd }: { readonly kubernetes: string; readonly etcd: string },
): readonly NodeProgram[] {
  const peer = 'http://127.0.0.1:2380';
  return [
    {
      name: 'etcd',
      command: [
        ...[etcd, `--data-dir=${NODE_HOME}/etcd`, '--unsafe-no-fsync', '--log-level=warn'],
        ...[`--listen-client-urls=${ETCD}`, `--advertise-client-urls=${ETCD}`],
        ...[
          `--listen-peer-urls=${peer}`,
          `--initial-advertise-peer-urls=${peer}`,
          `--initial-cluster=default=${peer}`,
        ],
      ],
    },
    { name: 'kube-apiserver', command: [kubernetes, 'kube-apiserver', ...apiServer(cluster)] },
    {
      name: 'kube-controller-manager',
      command: [kubernetes, 'kube-controller-manager', ...controllerManager()],
    },
    ...(cluster.nodes.length === 0
      ? []
      : [
          {
            name: 'kube-scheduler',
            command: [
              ...[kubernetes, 'kube-scheduler', '--leader-elect=false'],
              `--kubeconfig=${kubeconfigFile('kube-scheduler')}`,
            ],
          },
        ]),
  ];
}

export function workerPrograms(
  { name, ip4, ip6 }: NodeLayout,
  { kubernetes }: { readonly kubernetes: string },
): readonly NodeProgram[] {
  return [
    { name: 'containerd', command: ['containerd', `--config=${NODE_HOME}/containerd.toml`] },
    {
      name: 'kubelet',
      after: CONTAINERD_SOCKET,
      command: [
        ...[
          kubernetes,
          'kubelet',
          `--config=${NODE_HOME}/kubelet.json`,
          `--kubeconfig=${kubeconfigFile(name)}`,
        ],
        ...[`--hostname-override=${name}`, `--node-ip=${ip4},${ip6}`],
      ],
    },
  ];
}

/** https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/ */
export function kubeletConfig({ name }: NodeLayout): string {
  return JSON.stringify({
    ...{ apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' },
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    ...{ cgroupDriver: 'cgroupfs', failCgroupV1: false, failSwapOn: false },
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${PKI}/ca.crt` },
    },
    authorization: { mode: 'Webhook' },
    ...{ tlsCertFile: `${PKI}/${name}.crt`, tlsPrivateKeyFile: `${PKI}/${name}.key` },
    ...{ clusterDomain: 'cluster.local', clusterDNS: [ADDRESSES.dnsServiceIp] },
    resolvConf: `${NODE_HOME}/resolv.conf`,
    // The disk is the machine's: what else lies on it is nothing that evicting pods would help.
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    // Images can't be pulled again: none is ever removed.
    ...{ imageGCHighThresholdPercent: 100, imageMinimumGCAge: '1000h' },
    maxOpenFiles: 20_000,
  });
}

/** For containerd 1.6 and newer. */
export function containerdConfig(pauseImage: string): string {
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  # Lowering the score needs CAP_SYS_RESOURCE, which a machine inside a container may lack.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
`;
}

/** A user of USERS, or a node. */
function kubeconfigFile(user: keyof typeof USERS | (string & {})): string {
  return `${NODE_HOME}/${user}.kubeconfig`;
}
