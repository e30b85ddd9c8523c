import type { Finding } from '../check/findings.ts';
import { asUnreachable, connectCluster, kubeAccess } from '../client/kubernetes.ts';
import type { CommandInput } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { palette } from '../output/colour.ts';
import { formatFindings } from '../output/findings.ts';
import { type FactsClient, gatherClusterFacts } from './cluster-facts.ts';
import { plannedChart } from './installation.ts';
import { preCheck } from './pre-check.ts';
import type { PlannedValues } from './values.ts';

/** `heddle check --pre`: what stands in the way of an installation with these values. */
export async function reportBeforeInstallation(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const json = input.choice('output', ['text', 'json'], 'text') === 'json';
  const { planned } = plannedChart(input, context);
  const client = await connectCluster(kubeAccess(input, context), context);
  try {
    const findings = await findingsBefore(client, planned);
    if (json) context.out(`${JSON.stringify({ items: findings }, undefined, 2)}\n`);
    else context.out(formatFindings(findings, palette(context.colours), context.terminal));
    return findings.some(({ level }) => level === 'problem') ? EXIT.failed : EXIT.done;
  } finally {
    client.close();
  }
}

/** Fails with code `unreachable` where the API server can't be asked, `kubernetes` where it refuses to answer. */
export async function findingsBefore(
  client: FactsClient,
  planned: PlannedValues,
): Promise<readonly Finding[]> {
  try {
    return preCheck(await gatherClusterFacts(client), planned);
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
}
