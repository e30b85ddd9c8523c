import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import { HeddleError } from '../../common/errors.ts';
import { isJsonObject } from '../../common/json.ts';
import { numberAt, textAt } from '../kube/fields.ts';
import type { NetworkKind } from '../network/pod-network.ts';

/** Where everything of one local mesh is kept. All folders are the user's alone (0700). */
export interface StatePaths {
  readonly root: string;
  readonly meshFile: string;
  /** `pid start-time name` a line: every process that runs for this mesh. */
  readonly childrenFile: string;
  /** What the mesh made in the kernel: see cli/network/made.ts. */
  readonly networkFile: string;
  /** Objects given by `heddle apply`, in a folder of their own for each folder of manifests. */
  readonly applied: string;
  readonly runtime: string;
  readonly controlPlane: string;
  /** Volumes and tokens of pods; gone after `down`. */
  readonly pods: string;
  readonly logs: string;
  readonly tokenKeyFile: string;
  readonly tokenPublicKeyFile: string;
}

/** What `mesh.json` says: how the commands find the mesh that runs. */
export interface MeshFile {
  readonly name: string;
  readonly pid: number;
  /** The process's start time in clock ticks since boot (`/proc/<pid>/stat`), so that a reused pid isn't taken for it. */
  readonly startTime: string;
  readonly network: NetworkKind;
  readonly nodes: number;
  readonly manifests: string;
  readonly dashboard: string;
  readonly controlPlane: string;
  /** RFC 3339. */
  readonly startedAt: string;
  /** `starting`, then `ready` once every Deployment was available. */
  readonly phase: string;
}

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** `--state-dir`, or `$XDG_STATE_HOME/heddle/<name>`, or `~/.local/state/heddle/<name>`. */
export function statePaths(
  env: Readonly<Record<string, string | undefined>>,
  name: string,
  stateDir: string | undefined,
): StatePaths {
  if (!NAME.test(name))
    throw new HeddleError('usage', `the name "${name}" must be lower-case letters, digits and "-"`);
  const home = env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local', 'state');
  const root = stateDir ?? join(home, 'heddle', name);
  return {
    root,
    meshFile: join(root, 'mesh.json'),
    childrenFile: join(root, 'children'),
    networkFile: join(root, 'network'),
    applied: join(root, 'applied'),
    runtime: join(root, 'runtime'),
    controlPlane: join(root, 'control-plane'),
    pods: join(root, 'pods'),
    logs: join(root, 'logs'),
    tokenKeyFile: join(root, 'token-issuer.key'),
    tokenPublicKeyFile: join(root, 'token-issuer.pub'),
  };
}

/** Where objects applied over one folder of manifests are kept: another folder's mesh never meets them. */
export function appliedFolder(paths: StatePaths, manifests: string): string {
  const whole = resolve(manifests);
  const name = basename(whole)
    .replace(/[^A-Za-z0-9-]/g, '_')
    .slice(0, 40);
  return join(paths.applied, `${name}-${createHash('sha256').update(whole).digest('hex').slice(0, 12)}`);
}

export function makeStateDirectories(paths: StatePaths): void {
  for (const directory of [
    paths.root,
    paths.applied,
    paths.runtime,
    paths.controlPlane,
    paths.pods,
    paths.logs,
  ])
    mkdirSync(directory, { recursive: true, mode: 0o700 });
}

export function writeMeshFile(paths: StatePaths, mesh: MeshFile): void {
  writeAtomically(paths.meshFile, `${JSON.stringify(mesh, undefined, 2)}\n`);
}

/** The mesh file, or undefined where there is none or it was never finished. */
export function readMeshFile(paths: Pick<StatePaths, 'meshFile'>): MeshFile | undefined {
  const text = readIfThere(paths.meshFile);
  if (text === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(parsed)) return undefined;
  const pid = numberAt(parsed, 'pid');
  if (pid === undefined) return undefined;
  const words = (key: string) => textAt(parsed, key) ?? '';
  return {
    name: words('name'),
    pid,
    startTime: words('startTime'),
    network: words('network') === 'ebpf' ? 'ebpf' : 'loopback',
    nodes: numberAt(parsed, 'nodes') ?? 1,
    manifests: words('manifests'),
    dashboard: words('dashboard'),
    controlPlane: words('controlPlane'),
    startedAt: words('startedAt'),
    phase: words('phase'),
  };
}
