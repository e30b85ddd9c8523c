import { resolve } from 'node:path';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { DEFAULT_REVISION, isRevision, REVISION_FORM } from '../../injector/patch/webhooks.ts';
import type { KubernetesClient } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { asUnreachable, connectCluster, KUBE_OPTIONS, kubeAccess } from '../client/kubernetes.ts';
import { type CommandInput, type OptionSpec, usageError } from '../command-line.ts';
import type { CliContext } from '../context.ts';
import { chartKinds, defaultValues, findChart } from './chart.ts';
import { findHelm, HELM_OPTIONS, type Helm, helmOn } from './helm.ts';
import { mergedValues, type PlannedValues, plannedValues } from './values.ts';

const FIELD_MANAGER = 'heddle';
const TIMEOUT = /^(\d+(h|m|s))+$/;

/** Values of the chart, as Helm takes them. */
export const VALUES_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  values: {
    ...{ type: 'string', short: 'f', multiple: true, value: 'FILE' },
    help: 'values of the chart; may be given again, later ones win',
  },
  set: {
    ...{ type: 'string', multiple: true, value: 'NAME=VALUE' },
    help: 'one value, over those of files: --set cni.mode=capture; may be given again',
  },
  chart: {
    type: 'string',
    value: 'DIR',
    help: "the chart's folder (default: the one that came with heddle)",
  },
};

/** What `install`, `upgrade` and `uninstall` have in common. */
export const RELEASE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  ...KUBE_OPTIONS,
  namespace: {
    type: 'string',
    short: 'n',
    value: 'NAMESPACE',
    help: `must be ${SYSTEM_NAMESPACE}, where Heddle lives`,
  },
  revision: {
    type: 'string',
    value: 'NAME',
    help: `control plane and injector beside those of others (default ${DEFAULT_REVISION})`,
  },
  wait: { type: 'boolean', help: 'until everything runs, or is gone' },
  timeout: { type: 'string', value: 'TIME', help: 'how long --wait waits (default 5m)' },
  'dry-run': { type: 'boolean', help: 'the API server checks everything and keeps nothing' },
  ...HELM_OPTIONS,
};

/** One release on one cluster, and the tools to change it. */
export interface Installation {
  readonly client: KubernetesClient;
  readonly helm: Helm;
  readonly revision: string;
  /** Helm's name for it. */
  readonly release: string;
  readonly dryRun: boolean;
  /** Helm's arguments that every command has. */
  readonly common: readonly string[];
}

/** Reads the options, finds helm and the cluster, and runs `task` with them. */
export async function withInstallation<T>(
  input: CommandInput,
  context: CliContext,
  task: (installation: Installation) => Promise<T>,
): Promise<T> {
  const namespace = input.text('namespace') ?? SYSTEM_NAMESPACE;
  if (namespace !== SYSTEM_NAMESPACE)
    throw usageError(`Heddle lives in the namespace ${SYSTEM_NAMESPACE}, not ${namespace}`);
  const revision = input.text('revision') ?? DEFAULT_REVISION;
  if (!isRevision(revision)) throw usageError(`--revision must be ${REVISION_FORM}`);
  const wait = waitArguments(input);
  const program = findHelm(input, context);
  const access = kubeAccess(input, context);
  const client = await connectCluster(access, context);
  try {
    return await task({
      ...{ client, revision, dryRun: input.flag('dry-run') },
      helm: helmOn(program, access, context),
      release: releaseOf(revision),
      common: ['--namespace', SYSTEM_NAMESPACE, ...wait],
    });
  } finally {
    client.close();
  }
}

function waitArguments(input: CommandInput): readonly string[] {
  const timeout = input.text('timeout');
  if (timeout !== undefined && !input.flag('wait')) throw usageError('--timeout is for --wait');
  if (timeout !== undefined && !TIMEOUT.test(timeout))
    throw usageError(`--timeout must be a time such as 90s or 10m, not "${timeout}"`);
  if (!input.flag('wait')) return [];
  return ['--wait', ...(timeout === undefined ? [] : ['--timeout', timeout])];
}

/** Helm's name for a revision. */
function releaseOf(revision: string): string {
  return revision === DEFAULT_REVISION ? 'heddle' : `heddle-${revision}`;
}

/** The chart, Helm's arguments for its values, and what the checks make of them. */
export interface PlannedChart {
  readonly chart: string;
  readonly values: readonly string[];
  readonly planned: PlannedValues;
}

export function plannedChart(input: CommandInput, context: CliContext): PlannedChart {
  const chart = findChart(input.text('chart'), context.cwd);
  const [files, sets] = [input.texts('values'), input.texts('set')];
  for (const set of sets)
    if (!set.includes('=')) throw usageError(`--set ${set}: write NAME=VALUE, such as cni.mode=capture`);
  return {
    chart,
    values: [
      ...files.flatMap((file) => ['--values', resolve(context.cwd, file)]),
      ...sets.flatMap((set) => ['--set', set]),
    ],
    planned: plannedValues(mergedValues(defaultValues(chart), files, sets, context.cwd)),
  };
}

/** Has Helm render the chart with its values before anything is changed, so that a slip in a value is refused first. */
export async function renderFirst(
  { helm, dryRun }: Pick<Installation, 'helm' | 'dryRun'>,
  args: readonly string[],
): Promise<string> {
  // A dry run changes nothing and renders it all the same.
  return dryRun ? '' : await helm.run([...args, '--dry-run=client']);
}

/**
 * The namespace, at the Pod Security level that the nodes' agents need, and Heddle's kinds as this chart has them: Helm
 * would leave both as they are.
 */
export async function prepareCluster(
  { client, dryRun }: Pick<Installation, 'client' | 'dryRun'>,
  chart: string,
): Promise<void> {
  const labels = {
    'pod-security.kubernetes.io/enforce': 'privileged',
    'app.kubernetes.io/part-of': 'heddle',
  };
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SYSTEM_NAMESPACE, labels } };
  const put = { type: 'apply', fieldManager: FIELD_MANAGER, force: true } as const;
  try {
    await client.patch(KINDS.namespace, { name: SYSTEM_NAMESPACE }, { ...put, body: namespace }, { dryRun });
    for (const kind of chartKinds(chart)) {
      const { name } = kind.metadata;
      await client.patch(KINDS.customResourceDefinition, { name }, { ...put, body: kind }, { dryRun });
    }
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
}
