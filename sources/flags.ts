import type { Result } from '../common/errors.ts';
import { wrongUsage } from '../common/flags.ts';
import type { KubernetesAccess } from './kubernetes/client.ts';
import type { Environment } from './kubernetes/credentials.ts';

/** How a program is told where its objects come from. */
export const SOURCE_FLAGS = {
  manifests: { type: 'string', multiple: true },
  kubernetes: { type: 'boolean' },
  kubeconfig: { type: 'string' },
  context: { type: 'string' },
} as const;

/** For a program's usage. */
export const SOURCE_USAGE = `  --manifests DIR         folder of objects to follow; may be given again, later ones win
  --kubernetes            follow an API server instead: as the pod that this is, or
  --kubeconfig FILE       as a kubeconfig says, in its current context or
  --context NAME          in this one`;

export interface SourceOptions {
  /** Folders of manifests, later ones over earlier ones; empty where an API server is followed. */
  readonly manifests: readonly string[];
  readonly kubernetes: KubernetesAccess | undefined;
}

interface SourceValues {
  readonly manifests?: readonly string[] | undefined;
  readonly kubernetes?: boolean | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
}

/** Folders or an API server: one of them, and not both. */
export function readSource(values: SourceValues): Result<SourceOptions> {
  const { manifests = [], kubernetes = false, kubeconfig, context } = values;
  if (kubernetes && manifests.length > 0)
    return wrongUsage('--manifests and --kubernetes exclude each other');
  if (!kubernetes && (kubeconfig !== undefined || context !== undefined))
    return wrongUsage('--kubeconfig and --context are for --kubernetes');
  if (context !== undefined && kubeconfig === undefined) return wrongUsage('--context needs --kubeconfig');
  if (kubeconfig === '' || context === '') return wrongUsage('--kubeconfig and --context must not be empty');
  if (!kubernetes && manifests.length === 0) return wrongUsage('--manifests or --kubernetes is required');
  if (manifests.includes('')) return wrongUsage('--manifests must not be empty');
  return { ok: true, value: { manifests, kubernetes: kubernetes ? { kubeconfig, context } : undefined } };
}

/** With the environment of the process, by which a pod finds its API server. */
export function inEnvironment<T extends SourceOptions>(options: T, env: Environment): T {
  const { kubernetes } = options;
  return kubernetes === undefined ? options : { ...options, kubernetes: { ...kubernetes, env } };
}
