import { existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { connectKubernetes, type KubernetesClient } from '../../sources/kubernetes/client.ts';
import { KubernetesError } from '../../sources/kubernetes/errors.ts';
import { type CommandInput, type OptionSpec, usageError } from '../command-line.ts';
import type { CliContext } from '../context.ts';

/** Options of the commands that speak to a Kubernetes cluster. */
export const KUBE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  kubeconfig: {
    type: 'string',
    value: 'FILE',
    help: 'how to reach the cluster (default $KUBECONFIG, then ~/.kube/config)',
  },
  context: { type: 'string', value: 'NAME', help: "the kubeconfig's context (default its current one)" },
};

export interface KubeAccess {
  /** Absolute path of the kubeconfig. */
  readonly kubeconfig: string;
  /** Undefined: the current one. */
  readonly context: string | undefined;
}

/** Whether $KUBECONFIG or ~/.kube/config says how to reach a cluster. */
export function hasKubeconfig({ env, cwd }: CliContext): boolean {
  const named = (env.KUBECONFIG ?? '').split(delimiter).filter((file) => file !== '');
  if (named.length > 0) return true;
  return existsSync(resolve(cwd, env.HOME ?? '/', '.kube/config'));
}

/** Which cluster that is, for people. */
export function accessText({ kubeconfig, context }: KubeAccess): string {
  return context === undefined ? `the current context of ${kubeconfig}` : `context "${context}"`;
}

/** Which cluster is meant. Fails with code `unreachable` where nothing says how to reach one, `usage` where too much does. */
export function kubeAccess(input: CommandInput, context: CliContext): KubeAccess {
  const given = input.text('kubeconfig');
  const named = (given === undefined ? (context.env.KUBECONFIG ?? '').split(delimiter) : [given]).filter(
    (file) => file !== '',
  );
  if (named.length > 1)
    throw usageError(`$KUBECONFIG names ${named.length} files: give the one that is meant with --kubeconfig`);
  const file = resolve(context.cwd, named[0] ?? join(context.env.HOME ?? '/', '.kube/config'));
  if (!existsSync(file))
    throw new HeddleError(
      'unreachable',
      `there is no kubeconfig ${file}: give one with --kubeconfig FILE or $KUBECONFIG`,
    );
  return { kubeconfig: file, context: input.text('context') };
}

/** A client of the cluster that is meant; the cluster isn't asked anything yet. The caller closes it. */
export async function connectCluster(access: KubeAccess, context: CliContext): Promise<KubernetesClient> {
  try {
    return await connectKubernetes(access, context.clock);
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
}

/** What a call of the client failed with, as commands report it: exit code 3 unless the API server itself refused. */
export function asUnreachable(thrown: unknown): HeddleError {
  if (thrown instanceof KubernetesError) return thrown;
  return new HeddleError('unreachable', messageOf(thrown), { cause: thrown });
}
