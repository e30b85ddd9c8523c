import { isIP } from 'node:net';
import { parsePrefix } from '../../common/address.ts';
import { AGENT_SOCKET } from '../../common/agent-dial.ts';
import type { Result } from '../../common/errors.ts';
import { readFlags, wrongUsage } from '../../common/flags.ts';
import { isLogLevel, type LogLevel } from '../../common/log.ts';
import { readSource, SOURCE_FLAGS, SOURCE_USAGE, type SourceOptions } from '../../sources/flags.ts';
import { CGROUP_AUTO } from './cgroup-root.ts';
import { UPLINK_AUTO } from './uplink.ts';

/**
 * How pods reach other nodes: VXLAN; by the underlay's own routes; or not at all, where another CNI does it and Heddle
 * only captures.
 */
export type NetworkMode = 'tunnel' | 'direct' | 'capture';

export interface AgentOptions extends SourceOptions {
  /** Name of the node's Node object. */
  readonly node: string;
  /** Path of the node's network namespace; undefined: the agent's own. */
  readonly nodeNetns: string | undefined;
  readonly stateDirectory: string;
  /** Unix socket that the CNI plugin calls. */
  readonly socket: string;
  /** Unix socket of `heddle cni` and `heddle drops`. */
  readonly adminSocket: string;
  /** A cgroup v2 folder above all containers of the node; `auto`: the widest that is mounted. */
  readonly cgroup: string;
  /** Folder of the node on a bpffs; mounted there where none is. */
  readonly pins: string;
  /** `auto`: the device that has the Node object's address. */
  readonly uplink: string;
  readonly mode: NetworkMode;
  /** Ranges of all pods of the cluster, by which masquerade and the host's routes go. */
  readonly podRanges: readonly string[];
  readonly dnsAddresses: readonly string[];
  /** Sidecars may reach it whatever policy says. */
  readonly controlPlane: readonly string[];
  /** `namespace/name` of the Service whose endpoints are the control plane's too. */
  readonly controlPlaneService: string | undefined;
  /** Written once pods can be added. */
  readonly readyFile: string | undefined;
  /** Written once it is there to take over from another agent, or no other runs; removed at the end. */
  readonly standbyFile: string | undefined;
  /** Where Prometheus reads metrics: `127.0.0.1:9964`, `[::]:9964`; undefined: nowhere. */
  readonly metrics: string | undefined;
  /** Where the runtime looks for plugins and their configuration; undefined: somebody else installs them. */
  readonly cni: { readonly confDirectory: string; readonly binDirectory: string } | undefined;
  /** Mode capture: the other network's configuration file, or `auto` for the first. */
  readonly chained: string | undefined;
  /** Takes everything of Heddle off the node and ends. */
  readonly uninstall: boolean;
  readonly logLevel: LogLevel;
}

const FLAGS = {
  node: { type: 'string' },
  'node-netns': { type: 'string' },
  ...SOURCE_FLAGS,
  'state-dir': { type: 'string' },
  socket: { type: 'string' },
  'admin-socket': { type: 'string' },
  cgroup: { type: 'string' },
  pins: { type: 'string' },
  uplink: { type: 'string' },
  mode: { type: 'string' },
  'pod-range': { type: 'string', multiple: true },
  dns: { type: 'string', multiple: true },
  'control-plane': { type: 'string', multiple: true },
  'control-plane-service': { type: 'string' },
  'ready-file': { type: 'string' },
  'standby-file': { type: 'string' },
  metrics: { type: 'string' },
  'cni-conf-dir': { type: 'string' },
  'cni-bin-dir': { type: 'string' },
  chain: { type: 'string' },
  uninstall: { type: 'boolean' },
  'log-level': { type: 'string' },
  help: { type: 'boolean' },
} as const;

const DEFAULT_POD_RANGES = ['10.244.0.0/16', 'fd10:244::/56'];
const DEFAULT_DNS = ['10.96.0.10', 'fd10:96::a'];

export const USAGE = `Usage: heddle-cni-agent --node NAME (--manifests DIR | --kubernetes) [options]

  --node NAME             the Node object of this node
${SOURCE_USAGE}
  --cgroup DIR            cgroup v2 folder above all containers of the node (default auto, the widest that is mounted)
  --node-netns PATH       network namespace of the node (default: the agent's own)
  --state-dir DIR         addresses and pods that were given (default /var/lib/heddle/cni)
  --socket PATH           where the CNI plugin calls (default /run/heddle/cni.sock)
  --admin-socket PATH     where heddle cni and heddle drops call (default ${AGENT_SOCKET})
  --pins DIR              folder on a bpffs (default /sys/fs/bpf/heddle/NODE)
  --uplink NAME           device towards the other nodes (default auto, the one that has the node's InternalIP)
  --mode MODE             tunnel, direct (the underlay routes pods) or capture (over another CNI) (default tunnel)
  --pod-range CIDR        of all pods of the cluster; may be given again (default ${DEFAULT_POD_RANGES.join(', ')})
  --dns ADDRESS           the cluster's DNS, answered on this node; may be given again (default ${DEFAULT_DNS.join(', ')})
  --control-plane ADDRESS sidecars may always reach it; may be given again
  --control-plane-service NAMESPACE/NAME
                          likewise its endpoints
  --ready-file FILE       written once pods can be added
  --standby-file FILE     written once this agent could take over from the node's other one, or does without
  --metrics ADDRESS:PORT  serve metrics for Prometheus
  --cni-conf-dir DIR      install the CNI configuration here, as a runtime reads it (/etc/cni/net.d)
  --cni-bin-dir DIR       install the CNI plugin here (/opt/cni/bin); both or none
  --chain FILE            mode capture: capture behind this network configuration (default auto, the first)
  --uninstall             take everything of Heddle off this node and end; the agent must not run
  --log-level LEVEL       debug, info, warn or error (default info)
`;

const NODE_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const DEVICE = /^[^\s/:]{1,15}$/;
const SERVICE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Reads the command line. `help` where it asks for help. */
export function parseOptions(args: readonly string[]): Result<AgentOptions | 'help'> {
  const read = readFlags(args, FLAGS);
  if (!read.ok) return read;
  if (read.value === 'help') return { ok: true, value: 'help' };
  const values = read.value;
  const { node, cgroup = CGROUP_AUTO, uplink = UPLINK_AUTO, mode = 'tunnel', metrics } = values;
  const { 'log-level': logLevel = 'info', 'control-plane-service': controlPlaneService } = values;
  if (node === undefined || !NODE_NAME.test(node))
    return wrongUsage('--node must be the name of a Node object');
  const source = readSource(values);
  if (!source.ok) return source;
  if (controlPlaneService !== undefined && !SERVICE.test(controlPlaneService))
    return wrongUsage('--control-plane-service must be NAMESPACE/NAME');
  if (!DEVICE.test(uplink)) return wrongUsage('--uplink must be the name of a device');
  if (mode !== 'tunnel' && mode !== 'direct' && mode !== 'capture')
    return wrongUsage('--mode must be tunnel, direct or capture');
  if (metrics !== undefined && !isAddressWithPort(metrics))
    return wrongUsage('--metrics must be an address and a port, such as 127.0.0.1:9964 or [::]:9964');
  if (!isLogLevel(logLevel)) return wrongUsage('--log-level must be debug, info, warn or error');
  const cni = cniDirectories(values['cni-conf-dir'], values['cni-bin-dir']);
  if (cni === 'half') return wrongUsage('--cni-conf-dir and --cni-bin-dir are given both or not at all');
  if (values.chain !== undefined && mode !== 'capture') return wrongUsage('--chain is for --mode capture');
  const podRanges = values['pod-range'] ?? DEFAULT_POD_RANGES;
  const dnsAddresses = values.dns ?? DEFAULT_DNS;
  const controlPlane = values['control-plane'] ?? [];
  for (const range of podRanges) if (!isPrefix(range)) return wrongUsage(`--pod-range ${range} is no CIDR`);
  for (const address of [...dnsAddresses, ...controlPlane])
    if (isIP(address) === 0) return wrongUsage(`${address} is no IP address`);
  return {
    ok: true,
    value: {
      ...{ node, nodeNetns: values['node-netns'], ...source.value, cgroup, uplink, mode, logLevel },
      ...{ podRanges, dnsAddresses, controlPlane, controlPlaneService },
      ...{ readyFile: values['ready-file'], standbyFile: values['standby-file'] },
      ...{ metrics, uninstall: values.uninstall ?? false, cni },
      chained: mode === 'capture' ? (values.chain ?? 'auto') : undefined,
      stateDirectory: values['state-dir'] ?? '/var/lib/heddle/cni',
      socket: values.socket ?? '/run/heddle/cni.sock',
      adminSocket: values['admin-socket'] ?? AGENT_SOCKET,
      pins: values.pins ?? `/sys/fs/bpf/heddle/${node}`,
    },
  };
}

function cniDirectories(conf: string | undefined, bin: string | undefined): AgentOptions['cni'] | 'half' {
  if (conf === undefined && bin === undefined) return undefined;
  return conf === undefined || bin === undefined ? 'half' : { confDirectory: conf, binDirectory: bin };
}

function isAddressWithPort(text: string): boolean {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  return match !== null && isIP(match[1] ?? match[2] ?? '') !== 0 && Number(match[3]) <= 65_535;
}

function isPrefix(text: string): boolean {
  try {
    parsePrefix(text);
    return true;
  } catch {
    return false;
  }
}
