import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, cpSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HeddleError } from '../../../common/errors.ts';
import { eventually } from '../../support/wait.ts';
import { cgroupTable, type Hierarchy, makeCgroups } from './cgroups.ts';
import { ADDRESSES, type ClusterLayout, type NodeLayout } from './layout.ts';
import { CONTAINERD_SOCKET, containerdConfig, kubeletConfig, type NodeProgram } from './programs.ts';

const NODE_SCRIPT = fileURLToPath(new URL('./node.sh', import.meta.url));
const standsMs = 60_000;
const IMPORT_TIMEOUT_MS = 120_000;

export interface NodeSetup {
  readonly hierarchies: readonly Hierarchy[];
  readonly programs: readonly NodeProgram[];
  /** Kubeconfigs of its programs, by user. */
  readonly kubeconfigs: Readonly<Record<string, string>>;
  /** Folders of the cache with programs that its own start by name. */
  readonly path: readonly string[];
  readonly cache: string;
  readonly pause: string;
}

/** Starts a node's process 1, which starts its programs. It stands when all its mounts do. */
export async function startNode(cluster: ClusterLayout, node: NodeLayout, setup: NodeSetup): Promise<void> {
  makeHome(cluster, node, setup);
  makeCgroups(setup.hierarchies, node.cgroup);
  const log = openSync(join(node.home, 'log/node.log'), 'a');
  const child = spawn(
    'bash',
    [join(node.home, 'node.sh'), node.home, node.root, node.netns, node.name, setup.cache],
    {
      ...{ detached: true, stdio: ['ignore', log, log] },
    },
  );
  child.unref();
  closeSync(log);
  await eventually(
    () => {
      if (child.exitCode === null && child.signalCode === null) return existsSync(join(node.home, 'init'));
      const printed = readFileSync(join(node.home, 'log/node.log'), 'utf8');
      throw new HeddleError(
        'node',
        `${node.name} ended with ${child.exitCode ?? child.signalCode}:\n${printed}`,
      );
    },
    { deadlineMs: standsMs, what: `${node.name} stands; see ${node.home}/log/node.log` },
  );
}

/** Joins the cgroups of a table such as cgroupTable gives, and becomes the command: JOIN TABLE COMMAND … */
const JOIN = 'while read -r _ _ _ folder; do echo $$ > "$folder/cgroup.procs"; done < "$0" && exec "$@"';

/**
 * The command line that runs a program in all of a node's namespaces and in its cgroups, so that what the node's eBPF programs do is
 * done for it too. Throws HeddleError `node` where the node doesn't stand.
 */
export function insideNode(
  node: NodeLayout,
  command: readonly string[],
): readonly [string, readonly string[]] {
  const init = join(node.home, 'init');
  if (!existsSync(init))
    throw new HeddleError('node', `${node.name} doesn't stand: bring the cluster up first`);
  const target = ['--target', readFileSync(init, 'utf8').trim()];
  const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--root', '--wd=/'];
  const path = readFileSync(join(node.home, 'path'), 'utf8').trim();
  const enter = ['nsenter', ...target, ...namespaces, '--', 'env', `PATH=${path}`];
  return ['bash', ['-c', JOIN, join(node.home, 'cgroups'), ...enter, ...command]];
}

/** Puts the images of archives into a node's containerd, one after the other: a disk is no faster for two at a time. */
export async function importImages(node: NodeLayout, archives: readonly string[]): Promise<void> {
  for (const archive of archives) {
    const ctr = ['ctr', '-a', CONTAINERD_SOCKET, '-n', 'k8s.io', 'images', 'import', '-'];
    const [command, args] = insideNode(node, ctr);
    const input = openSync(archive, 'r');
    const child = spawn(command, args, { stdio: [input, 'ignore', 'pipe'], timeout: IMPORT_TIMEOUT_MS });
    closeSync(input);
    let printed = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0)
      throw new HeddleError(
        'image',
        `${node.name} doesn't take ${archive} (${code ?? 'timed out'}): ${printed}`,
      );
  }
}

function makeHome(cluster: ClusterLayout, node: NodeLayout, setup: NodeSetup): void {
  const { home, root } = node;
  for (const folder of [root, home, join(home, 'log'), join(home, 'programs')])
    mkdirSync(folder, { recursive: true });
  cpSync(cluster.pki, join(home, 'pki'), { recursive: true });
  // A shell reads its script as it goes: an edit must not reach a node that stands.
  cpSync(NODE_SCRIPT, join(home, 'node.sh'));
  const files: Readonly<Record<string, string>> = {
    cgroups: cgroupTable(setup.hierarchies, node.cgroup),
    path: [...setup.path, '/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(
      ':',
    ),
    'resolv.conf': `nameserver ${ADDRESSES.worldIp4}\n`,
    'kubelet.json': kubeletConfig(node),
    'containerd.toml': containerdConfig(setup.pause),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(home, name), text);
  for (const [user, text] of Object.entries(setup.kubeconfigs))
    writeFileSync(join(home, `${user}.kubeconfig`), text);
  setup.programs.forEach((program, index) => {
    writeFileSync(join(home, 'programs', `${index}-${program.name}`), scriptOf(program), { mode: 0o755 });
  });
}

/** A program of `programs/`: it becomes the command. */
export function scriptOf({ command, after }: NodeProgram): string {
  const wait = after === undefined ? '' : `until [ -S ${shellWord(after)} ]; do sleep 0.1; done\n`;
  return `#!/usr/bin/env bash\n${wait}exec ${command.map(shellWord).join(' ')}\n`;
}

function shellWord(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
