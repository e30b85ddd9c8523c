import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { clusterInjection, INJECTED_WORKLOADS } from '../check/cluster-injection.ts';
import {
  type InjectionFacts,
  type InjectionRow,
  type InjectionState,
  injectionRows,
  webhookFindings,
} from '../check/injection.ts';
import { asUnreachable, connectCluster } from '../client/kubernetes.ts';
import { objectsInForce } from '../client/mesh.ts';
import { whichMesh } from '../client/which.ts';
import { type CommandInput, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { palette } from '../output/colour.ts';
import { formatFindings } from '../output/findings.ts';
import { formatTable } from '../output/table.ts';

const PROBLEMS: readonly InjectionState[] = ['missing', 'refused'];
const WORDS: Readonly<Record<InjectionState, string>> = {
  injected: 'yes',
  injects: 'new pods',
  none: 'no',
  missing: 'MISSING',
  outdated: 'OUTDATED',
  refused: 'REFUSED',
};

/**
 * `heddle check inject NAMESPACE`: for each workload and pod whether it has a sidecar, and why. Of the local mesh where one
 * runs and no cluster is named, of a Kubernetes cluster otherwise. Ends with 1 where a pod that should have a sidecar has none.
 */
export async function checkInject(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const [, named] = input.positionals;
  const namespace = named ?? input.text('namespace');
  if (namespace === undefined) throw usageError('say which namespace: heddle check inject NAMESPACE');
  const json = input.choice('output', ['text', 'json'], 'text') === 'json';
  const facts = await gather(namespace, input, context);
  const rows = injectionRows(facts);
  const findings = webhookFindings(facts);
  if (json) {
    const items = rows.map((row) => ({ namespace, ...row }));
    context.out(`${JSON.stringify({ items, webhooks: findings }, undefined, 2)}\n`);
  } else context.out(`${table(namespace, rows)}${told(rows, context)}`);
  if (!json && findings.length > 0)
    context.out(`\n${formatFindings(findings, palette(context.colours), context.terminal)}`);
  const bad =
    rows.some(({ state }) => PROBLEMS.includes(state)) || findings.some(({ level }) => level === 'problem');
  return bad ? EXIT.failed : EXIT.done;
}

function table(namespace: string, rows: readonly InjectionRow[]): string {
  if (rows.length === 0) return `there are no pods and no workloads in ${namespace}\n`;
  return formatTable(
    ['NAME', 'SIDECAR', 'WHY'],
    rows.map(({ kind, name, state, reason }) => [`${kind.toLowerCase()}/${name}`, WORDS[state], reason]),
  );
}

/** Each remedy once, however many pods need it. */
function told(rows: readonly InjectionRow[], context: CliContext): string {
  const remedies = new Set(rows.flatMap(({ remedy }) => remedy ?? []));
  const paint = palette(context.colours);
  return [...remedies].map((remedy) => `${paint.dim('→')} ${remedy}\n`).join('');
}

async function gather(namespace: string, input: CommandInput, context: CliContext): Promise<InjectionFacts> {
  const which = whichMesh(input, context);
  if (which.kind === 'local') return localFacts(namespace, await objectsInForce(which.mesh));
  const client = await connectCluster(which.access, context);
  try {
    return await clusterInjection(namespace, client);
  } catch (thrown) {
    if (hasReason(thrown, 'NotFound')) throw noNamespace(namespace);
    throw asUnreachable(thrown);
  } finally {
    client.close();
  }
}

function localFacts(namespace: string, objects: readonly KubeObject[]): InjectionFacts {
  const own = objects.find((one) => one.kind === 'Namespace' && one.metadata.name === namespace);
  const within = objects.filter((one) => (one.metadata.namespace ?? 'default') === namespace);
  if (own === undefined && within.length === 0) throw noNamespace(namespace);
  const kinds = INJECTED_WORKLOADS.map(({ kind }) => kind);
  return {
    namespace,
    labels: own?.metadata.labels ?? {},
    pods: within.filter(({ kind }) => kind === 'Pod'),
    workloads: within.filter(({ kind }) => kinds.includes(kind)),
    webhooks: undefined,
  };
}

function noNamespace(namespace: string): HeddleError {
  return new HeddleError('not-found', `there is no namespace ${namespace}`);
}
