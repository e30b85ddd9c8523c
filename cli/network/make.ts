import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readIfThere } from '../../common/atomic-file.ts';
import { HeddleError } from '../../common/errors.ts';
import type { CliContext } from '../context.ts';
import { bundlesAreFresh, programFile } from '../local/bundles.ts';
import type { Children } from '../local/children.ts';
import { appliedFolder, type StatePaths } from '../local/state-dir.ts';
import { EbpfNetwork } from './ebpf.ts';
import { machineHost } from './host.ts';
import { runDirectory } from './layout.ts';
import { LoopbackNetwork } from './loopback.ts';
import { Made } from './made.ts';
import { NodeProcesses } from './node-processes.ts';
import type { MeshNetwork } from './pod-network.ts';
import type { MachineFacts } from './preflight.ts';
import { TrustFolder } from './trust-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface NetworkInput {
  readonly context: CliContext;
  readonly paths: StatePaths;
  readonly mesh: string;
  readonly manifests: string;
  readonly nodes: number;
  readonly children: Pick<Children, 'start'>;
  /** Of the mesh's own processes. */
  readonly environment: Readonly<Record<string, string>>;
  /** The control plane's file of root certificates. */
  readonly rootFile: string;
  readonly startedAt: string;
  /** Undefined: loopback mode. */
  readonly ebpf: MachineFacts | undefined;
  say(line: string): void;
}

export function makeNetwork(input: NetworkInput): MeshNetwork {
  const { context, paths, mesh, manifests, ebpf, environment, say } = input;
  if (ebpf === undefined) return new LoopbackNetwork(context.random, context.dialer);
  const { plugin, cgroupRoot, ipv6 } = ebpf;
  if (plugin === undefined || cgroupRoot === undefined)
    throw new HeddleError('network', 'the eBPF pod network needs its CNI plugin and cgroup v2');
  const { clock, node } = context;
  const run = runDirectory(mesh);
  const cgroup = join(cgroupRoot, 'heddle', mesh);
  const bundlesFresh = bundlesAreFresh(ROOT);
  const trustDirectory = join(paths.pods, 'heddle-trust');
  return new EbpfNetwork({
    ...{ clock, mesh, run, plugin, cgroup, ipv6, trustDirectory, say, nodes: input.nodes },
    ...{ startedAt: input.startedAt, podsDirectory: paths.pods },
    ...{ host: machineHost(clock, environment.PATH ?? ''), made: new Made(paths.networkFile) },
    madeFile: paths.networkFile,
    programDirectories: [ROOT.replace(/\/$/, ''), join(node, '..'), manifests],
    trust: () => new TrustFolder(clock, input.rootFile, trustDirectory),
    processes: (underlay) =>
      new NodeProcesses({
        ...{ clock, run, node, environment, cgroup, say, root: ROOT },
        programs: {
          agent: programFile(ROOT, 'cni/agent', bundlesFresh),
          dns: programFile(ROOT, 'cni/dns', bundlesFresh),
        },
        ...{ children: input.children, logs: paths.logs },
        manifests: [manifests, appliedFolder(paths, manifests), paths.runtime],
        resolvConf: worldResolvConf(),
        controlPlane: ipv6 ? [underlay.ip4, underlay.ip6] : [underlay.ip4],
      }),
  });
}

/** A stub of this machine can't be asked from another network; systemd-resolved names who it asks itself. */
function worldResolvConf(): string {
  const [own, behind] = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];
  const servers = [...(readIfThere(own) ?? '').matchAll(/^nameserver\s+(\S+)/gm)].map(
    ([, address]) => address,
  );
  const stub = servers.every((address) => address === '::1' || address?.startsWith('127.'));
  return stub && existsSync(behind) ? behind : own;
}
