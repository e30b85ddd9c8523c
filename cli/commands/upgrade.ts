import type { CommandSpec } from '../command-line.ts';
import { EXIT } from '../context.ts';
import { chartVersion } from '../install/chart.ts';
import { explained } from '../install/helm.ts';
import {
  plannedChart,
  prepareCluster,
  RELEASE_OPTIONS,
  renderFirst,
  VALUES_OPTIONS,
  withInstallation,
} from '../install/installation.ts';

export const upgrade: CommandSpec = {
  name: 'upgrade',
  summary: 'bring an installation up to date, or change its values',
  usage: 'upgrade [--context NAME] [-f FILE] [--set NAME=VALUE] [--revision NAME] [--wait] [--dry-run]',
  description:
    "Upgrades the release and Heddle's kinds to the chart that came with this command. Values of earlier installations are\nkept, and those given now are put over them. Running pods keep their sidecars and go on talking; they get new ones when\nthey are started anew.",
  examples: [
    'heddle upgrade --wait',
    'heddle upgrade --set controlPlane.replicas=2',
    'heddle upgrade --dry-run',
  ],
  options: { ...RELEASE_OPTIONS, ...VALUES_OPTIONS },
  positionalsMax: 0,
  run(input, context) {
    const { chart, values } = plannedChart(input, context);
    return withInstallation(input, context, async (installation) => {
      const { helm, release, revision, common, dryRun } = installation;
      const own = ['--reset-then-reuse-values', '--set', `revision=${revision}`];
      const args = ['upgrade', release, chart, ...common, ...values, ...own];
      const told = (run: Promise<string>) =>
        explained(run, /has no deployed releases/, 'heddle install makes one');
      await told(renderFirst(installation, args));
      await prepareCluster(installation, chart);
      context.out(await told(helm.run(dryRun ? [...args, '--dry-run=server'] : args)));
      if (dryRun)
        context.err(`nothing was changed: ${release} could be upgraded to ${chartVersion(chart)}\n`);
      return EXIT.done;
    });
  },
};
