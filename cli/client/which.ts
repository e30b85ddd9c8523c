import { HeddleError } from '../../common/errors.ts';
import { type CommandInput, MESH_OPTIONS, type OptionSpec, usageError } from '../command-line.ts';
import type { CliContext } from '../context.ts';
import { type ClusterMesh, openClusterMesh } from './cluster-mesh.ts';
import { accessText, hasKubeconfig, KUBE_OPTIONS, type KubeAccess, kubeAccess } from './kubernetes.ts';
import { findMesh, type RunningMesh } from './mesh.ts';

/** Options of the commands that ask a mesh, wherever it runs. */
export const ANY_MESH_OPTIONS: Readonly<Record<string, OptionSpec>> = { ...MESH_OPTIONS, ...KUBE_OPTIONS };

/** The mesh that a command line means. */
export type Which =
  | { readonly kind: 'local'; readonly mesh: RunningMesh }
  | {
      readonly kind: 'kubernetes';
      readonly access: KubeAccess;
      /** Why it is this one, where the command line doesn't name it. */
      readonly because: string | undefined;
    };

export type Mesh = RunningMesh | ClusterMesh;

/**
 * Which mesh is meant, decided here alone: the cluster that `--context` or `--kubeconfig` names; else the mesh of this
 * machine, where one runs or is named by `--name` or `--state-dir`; else the cluster of $KUBECONFIG or ~/.kube/config.
 * Nothing is asked yet. Fails with codes `usage`, and `unreachable` where there is neither.
 */
export function whichMesh(input: CommandInput, context: CliContext): Which {
  const given = (names: Readonly<Record<string, unknown>>) =>
    Object.keys(names).find((name) => input.text(name) !== undefined);
  const [cluster, local] = [given(KUBE_OPTIONS), given(MESH_OPTIONS)];
  if (cluster !== undefined && local !== undefined)
    throw usageError(`--${cluster} means a cluster, --${local} a mesh of this machine: leave one out`);
  if (cluster !== undefined)
    return { kind: 'kubernetes', access: kubeAccess(input, context), because: undefined };
  try {
    return { kind: 'local', mesh: findMesh(input, context) };
  } catch (thrown) {
    if (local !== undefined || !(thrown instanceof HeddleError) || thrown.code !== 'unreachable')
      throw thrown;
    if (!hasKubeconfig(context))
      throw new HeddleError(
        'unreachable',
        `${thrown.message}; a mesh on Kubernetes is named by --kubeconfig FILE, --context NAME or $KUBECONFIG`,
      );
    return { kind: 'kubernetes', access: kubeAccess(input, context), because: thrown.message };
  }
}

/** Runs `use` with the mesh that is meant, and lets go of it. Says on stderr where nobody named the cluster. */
export async function withMesh<T>(
  input: CommandInput,
  context: CliContext,
  use: (mesh: Mesh) => Promise<T>,
): Promise<T> {
  const which = whichMesh(input, context);
  if (which.kind === 'local') return use(which.mesh);
  if (which.because !== undefined) context.err(`asking Kubernetes, ${accessText(which.access)}\n`);
  const mesh = await openClusterMesh(which.access, context);
  try {
    return await use(mesh);
  } finally {
    mesh.close();
  }
}

/**
 * The mesh of this machine, for commands that are kubectl's or Helm's work on a cluster. Fails with code `usage` and the
 * command to run instead where a cluster is meant.
 */
export function localMesh(input: CommandInput, context: CliContext, instead: string): RunningMesh {
  const which = whichMesh(input, context);
  if (which.kind === 'local') return which.mesh;
  throw onKubernetes(input, which.because, instead);
}

/** Refuses `--context` and `--kubeconfig` for a command of this machine alone. */
export function refuseCluster(input: CommandInput, instead: string): void {
  const named = Object.keys(KUBE_OPTIONS).some((name) => input.text(name) !== undefined);
  if (named) throw onKubernetes(input, undefined, instead);
}

function onKubernetes(input: CommandInput, because: string | undefined, instead: string): HeddleError {
  const flags = Object.keys(KUBE_OPTIONS).flatMap((name) => {
    const value = input.text(name);
    return value === undefined ? [] : [`--${name} ${quoted(value)}`];
  });
  const command = [instead, ...flags].join(' ');
  const why = because === undefined ? 'on Kubernetes' : `${because}. On Kubernetes`;
  return usageError(`${why} this is not for heddle; run: ${command}`);
}

/** The kubectl command that does what this command line asks for. */
export function kubectl(verb: string, input: CommandInput): string {
  const words = [verb, ...input.positionals];
  for (const file of input.texts('filename')) words.push('-f', file);
  for (const [option, flag] of [
    ['namespace', '-n'],
    ['container', '-c'],
    ['tail', '--tail'],
  ] as const) {
    const value = input.text(option);
    if (value !== undefined) words.push(flag, value);
  }
  if (input.flag('follow')) words.push('-f');
  if (input.flag('previous')) words.push('-p');
  return `kubectl ${words.map(quoted).join(' ')}`;
}

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
