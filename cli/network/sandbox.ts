import { chmodSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, textAt } from '../kube/fields.ts';
import type { ContainerSpec } from '../local/pod-spec.ts';
import { hostNameOf, hostsFile, resolvConf } from './pod-files.ts';
import type { Launch, Sandbox } from './pod-network.ts';
import { rightsOf, setprivArguments } from './security.ts';

/** Inside a container, the one folder whose content Heddle makes. */
const INSIDE = '/run/heddle';
const TOOLS = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const MANY_READ = { folder: 0o755, file: 0o644, emptyDir: 0o777 } as const;

export interface SandboxSettings {
  readonly pod: KubeObject;
  readonly ips: readonly string[];
  readonly nodeName: string;
  /** Path of the network namespace that the pod's processes run in. */
  readonly netns: string;
  /** The pod's cgroup v2 folder, above its containers'. */
  readonly cgroup: string;
  /** A folder of this pod's own. */
  readonly directory: string;
  /** Holds `root.pem`, kept up to date. */
  readonly trustDirectory: string;
  /**
   * Folders that programs are started from. A user other than root sees them under a path that he may walk, whatever
   * the rights of the folders above them.
   */
  readonly programDirectories: readonly string[];
  /** The machine's own `/etc/resolv.conf` and `/etc/hosts`. */
  readonly machine: { readonly resolvConf: string; readonly hosts: string };
}

/**
 * Runs a pod's processes inside its network namespace: see enter.sh. There is no image, so containers see the machine's
 * files; of Heddle's own, `/run/heddle` holds the pod's volumes and nothing else.
 */
export class PodSandbox implements Sandbox {
  readonly rootFile = `${INSIDE}/trust/root.pem`;
  readonly #settings: SandboxSettings;

  constructor(settings: SandboxSettings) {
    this.#settings = settings;
  }

  volumePath(volume: string): string {
    return `${INSIDE}/volumes/${volume}`;
  }

  open(volumes: ReadonlyMap<string, string>): void {
    const { pod, directory, nodeName, ips, machine, trustDirectory, programDirectories } = this.#settings;
    for (const [name, folder] of volumes) letMayRead(folder, isEmptyDir(pod, name));
    const binds = [
      [trustDirectory, dirname(this.rootFile)],
      ...[...volumes].map(([name, folder]) => [folder, this.volumePath(name)]),
      ...programDirectories.map((folder, index) => [folder, programPath(index)]),
    ];
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
    write('binds', binds.map(([source, target]) => `${source}\t${target}\n`).join(''));
    write('hostname', `${hostNameOf(pod, nodeName)}\n`);
    write('hosts', hostsFile(pod, ips, machine.hosts));
    write('resolv.conf', resolvConf(pod, machine.resolvConf));
  }

  enter(container: ContainerSpec, launch: Launch): Launch {
    const { pod, cgroup, netns, directory, programDirectories } = this.#settings;
    const rights = rightsOf(pod.spec, container);
    const own = join(cgroup, container.name);
    mkdirSync(own, { recursive: true });
    const seen = rights.user === 0 ? launch : seenByOthers(launch, programDirectories);
    const script = fileURLToPath(new URL('./enter.sh', import.meta.url));
    return {
      command: '/bin/sh',
      args: [
        ...[script, 'enter', directory, own, netns, rights.privileged ? 'privileged' : 'confined', seen.cwd],
        // The container's PATH is for its own command: the programs that start it are the machine's.
        ...[
          ...setprivArguments(rights),
          '--',
          'env',
          '-u',
          'OLDPWD',
          '-u',
          'SHLVL',
          `PATH=${seen.env.PATH ?? TOOLS}`,
        ],
        ...[seen.command, ...seen.args],
      ],
      cwd: '/',
      env: { ...seen.env, PATH: TOOLS },
    };
  }
}

function programPath(index: number): string {
  return `${INSIDE}/programs/${index}`;
}

/** The same process by paths that any user may walk. */
function seenByOthers(launch: Launch, directories: readonly string[]): Launch {
  const byLength = directories
    .map((folder, index) => ({ folder, path: programPath(index) }))
    .toSorted((a, b) => b.folder.length - a.folder.length);
  const shown = (word: string) => {
    const found = byLength.find(({ folder }) => word === folder || word.startsWith(`${folder}/`));
    return found === undefined ? word : found.path + word.slice(found.folder.length);
  };
  const env = Object.entries(launch.env).map(([name, value]) => [
    name,
    value.split(':').map(shown).join(':'),
  ]);
  return {
    command: shown(launch.command),
    args: launch.args.map(shown),
    cwd: shown(launch.cwd),
    // Root's own home is no place for others.
    env: { ...Object.fromEntries(env), ...(launch.env.HOME === '/root' ? { HOME: '/' } : {}) },
  };
}

function isEmptyDir(pod: KubeObject, name: string): boolean {
  const volume = listAt(pod.spec, 'volumes').find((one) => textAt(one, 'name') === name);
  return at(volume, 'emptyDir') !== undefined;
}

/** As kubelet leaves volumes: every user of the pod may read them, and write to an emptyDir. */
function letMayRead(folder: string, writable: boolean): void {
  chmodSync(folder, writable ? MANY_READ.emptyDir : MANY_READ.folder);
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const stat = lstatSync(path);
    if (stat.isDirectory()) chmodSync(path, MANY_READ.folder);
    else if (stat.isFile()) chmodSync(path, MANY_READ.file);
  }
}
