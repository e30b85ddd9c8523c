import type { CommandInput, CommandSpec } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { chartVersion } from '../install/chart.ts';
import { explained } from '../install/helm.ts';
import {
  type Installation,
  type PlannedChart,
  plannedChart,
  prepareCluster,
  RELEASE_OPTIONS,
  renderFirst,
  VALUES_OPTIONS,
  withInstallation,
} from '../install/installation.ts';
import { findingsBefore } from '../install/report.ts';
import { palette } from '../output/colour.ts';
import { formatFindings } from '../output/findings.ts';

export const install: CommandSpec = {
  name: 'install',
  summary: 'install Heddle on a Kubernetes cluster',
  usage: 'install [--context NAME] [-f FILE] [--set NAME=VALUE] [--revision NAME] [--wait] [--dry-run]',
  description:
    "Installs the chart with Helm, after a look at the cluster (heddle check --pre): where something is in the way, nothing\nis changed. Makes the namespace heddle-system and Heddle's kinds. Values are the chart's: charts/heddle/values.yaml.",
  examples: [
    'heddle install --wait',
    'heddle install -f charts/heddle/values-ha.yaml --set apiServerHost=10.0.0.5,apiServerPort=6443',
    'heddle install --set cni.mode=capture',
    'heddle install --revision next',
  ],
  options: {
    ...RELEASE_OPTIONS,
    ...VALUES_OPTIONS,
    'skip-checks': { type: 'boolean', help: 'install although something is in the way' },
  },
  positionalsMax: 0,
  run: (input, context) => {
    const chart = plannedChart(input, context);
    return withInstallation(input, context, (installation) =>
      runInstall(input, context, installation, chart),
    );
  },
};

async function runInstall(
  input: CommandInput,
  context: CliContext,
  installation: Installation,
  { chart, values, planned }: PlannedChart,
): Promise<ExitCode> {
  const { client, helm, release, revision, common, dryRun } = installation;
  if (!input.flag('skip-checks')) {
    const problems = (await findingsBefore(client, planned)).filter(({ level }) => level === 'problem');
    if (problems.length > 0) {
      context.err(formatFindings(problems, palette(false), context.terminal));
      context.err('nothing was installed; --skip-checks installs all the same\n');
      return EXIT.failed;
    }
  }
  const own = ['--skip-crds', '--set', `revision=${revision}`];
  const args = ['install', release, chart, ...common, ...values, ...own];
  await renderFirst(installation, args);
  await prepareCluster(installation, chart);
  context.out(
    await explained(
      helm.run(dryRun ? [...args, '--dry-run=server'] : args),
      /cannot reuse a name|already exists/,
      'heddle upgrade changes what is installed',
    ),
  );
  if (dryRun) context.err(`nothing was installed: Heddle ${chartVersion(chart)} could be\n`);
  return EXIT.done;
}
