import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { podResolvConf } from '../../../common/resolv-conf.ts';
import type { TestCluster, TestNode } from '../../support/network/cluster.ts';
import { eventually } from '../../support/wait.ts';
import type { Place } from '../sockets/program.ts';

const MAIN = fileURLToPath(new URL('../../../cni/dns/main.ts', import.meta.url));
const startMs = 20_000;
const commandMs = 20_000;

/** The DNS process of a node, as `heddle up` starts it. */
export class NodeDns {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves once it answers. Names of the world are asked for at `upstream`. */
  static async start(cluster: TestCluster, node: TestNode, upstream: string, main = MAIN): Promise<NodeDns> {
    const ports = join(cluster.directory, `${node.name}.dns`);
    const flags = ['--manifests', cluster.manifests, '--upstream', upstream, '--ports-file', ports];
    const command = [`--net=${node.netns}`, '--', process.execPath, main, ...flags];
    const dns = new NodeDns(spawn('nsenter', command, { stdio: ['ignore', 'ignore', 'inherit'] }));
    await eventually(() => existsSync(ports), {
      deadlineMs: startMs,
      what: `the DNS of ${node.name} answers`,
    });
    return dns;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }
}

/** Where every node's DNS answers, as agents have it by default. */
export const DNS_ADDRESSES = { ip4: '10.96.0.10', ip6: 'fd10:96::a' } as const;

/** Writes the resolv.conf that kubelet would give a pod of a namespace whose DNS is at `address`; its path. */
export function writeResolvConf(cluster: TestCluster, namespace: string, address: string): string {
  const { text } = podResolvConf({
    ...{ namespace, dnsPolicy: 'ClusterFirst', clusterDns: [address], clusterDomain: 'cluster.local' },
    upstream: { nameservers: [], searches: [], options: [] },
  });
  const file = join(cluster.directory, `resolv.${namespace}.${isIPv6(address) ? 6 : 4}`);
  writeFileSync(file, text);
  return file;
}

/** Runs a program in a pod with a resolv.conf of the pod's own; what it prints. Rejects where it fails. */
export async function runWithResolver(
  { netns, cgroup }: Pick<Place, 'netns' | 'cgroup'>,
  resolvConf: string,
  command: readonly string[],
): Promise<string> {
  const inside = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
  const enter = [
    'nsenter',
    `--net=${netns}`,
    'unshare',
    '--mount',
    'sh',
    '-c',
    inside,
    resolvConf,
    ...command,
  ];
  const script = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
  const { stdout } = await promisify(execFile)('sh', ['-c', script, cgroup, ...enter], {
    timeout: commandMs,
  });
  return stdout;
}
