import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readIfThere } from '../../common/atomic-file.ts';
import { PORTS } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { ANY_MESH_OPTIONS, refuseCluster } from '../client/which.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { claimState } from '../local/claim.ts';
import { endLeftovers } from '../local/leftovers.ts';
import type { PublishedPort } from '../local/load-balancer.ts';
import { MeshRunner } from '../local/mesh-runner.ts';
import { processStartTime } from '../local/process-identity.ts';
import { Progress } from '../local/progress.ts';
import { statePaths } from '../local/state-dir.ts';
import { chooseNetwork, thisMachine } from '../network/choose.ts';
import { palette } from '../output/colour.ts';

const DEFAULT_NODES = 2;
/** Each has a /24 of 127.244.0.0/16. */
const nodesMax = 250;
const announceMs = 200;
const TRY_FILE = 'heddle-try.txt';
/** After this the end is no longer waited for. */
const stopMs = 45_000;

export const up: CommandSpec = {
  name: 'up',
  summary: 'run a mesh on this machine',
  usage: 'up [DIR] [--name NAME] [--nodes N] [--network auto|loopback|ebpf] [--dashboard-port N]',
  description:
    'Runs the manifests of DIR (default: the current folder) as a mesh on this machine, until Ctrl-C or "heddle down".\nContainers are processes: their images are not pulled, their commands are run.',
  examples: ['heddle up demo/shop', 'heddle up ./manifests --name second --dashboard-port 15081'],
  options: {
    ...ANY_MESH_OPTIONS,
    network: {
      type: 'string',
      value: 'KIND',
      help: 'ebpf (needs root), loopback, or auto: ebpf where it can run',
    },
    nodes: { type: 'string', value: 'N', help: `nodes to spread pods over (default ${DEFAULT_NODES})` },
    'dashboard-port': {
      type: 'string',
      value: 'N',
      help: `port of the dashboard (default ${PORTS.dashboard})`,
    },
  },
  positionalsMax: 1,
  run: runUp,
};

async function runUp(input: CommandInput, context: CliContext): Promise<ExitCode> {
  refuseCluster(input, 'heddle install');
  const manifests = resolve(context.cwd, input.positionals[0] ?? '.');
  if (statSync(manifests, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw usageError(`${manifests} is not a folder of manifests`);
  const network = input.choice('network', ['auto', 'loopback', 'ebpf'], 'auto');
  const name = input.text('name') ?? 'default';
  const stateDir = input.text('state-dir');
  const paths = statePaths(
    context.env,
    name,
    stateDir === undefined ? undefined : resolve(context.cwd, stateDir),
  );
  const dashboardPort = input.number('dashboard-port', 0, 65_535) ?? PORTS.dashboard;
  const nodes = input.number('nodes', 1, nodesMax) ?? DEFAULT_NODES;
  if (processStartTime(process.pid) === undefined)
    throw new HeddleError('unsupported', 'the local mesh needs Linux: it knows processes by /proc');
  const release = await claimState(paths, name);
  const progress = new Progress(context);
  try {
    // Before the machine is looked at: what a crashed mesh left may be what stands in the way.
    const leftovers = await endLeftovers(paths, context.clock, context.env.PATH ?? '');
    if (leftovers.length > 0) progress.done(`cleaned up after a crash: ended ${leftovers.join(', ')}`);
    const { ebpf, because } = await chooseNetwork(network, nodes, () => thisMachine(context));
    if (because !== undefined)
      progress.line(
        `network: loopback, since for the eBPF pod network ${because}; "heddle check" says what that leaves out`,
      );
    const runner = new MeshRunner({ context, paths, name, manifests, dashboardPort, nodes, ebpf, progress });
    return await supervise(runner, context, progress, manifests);
  } finally {
    await release();
  }
}

async function supervise(
  runner: MeshRunner,
  context: CliContext,
  progress: Progress,
  manifests: string,
): Promise<ExitCode> {
  let interrupted: () => void = () => undefined;
  const interrupt = new Promise<void>((resolve) => {
    interrupted = resolve;
  });
  const quiet = context.onInterrupt((count) => {
    interrupted();
    if (count > 1) runner.killAll();
  });
  let code: ExitCode = EXIT.done;
  const ticker = context.clock.every(announceMs, announcer(runner, progress, context, manifests));
  // The supervisor lives until it is told to end, whatever else is open.
  const alive = keepAlive(context);
  try {
    await Promise.race([runner.start(), interrupt]);
    await interrupt;
  } catch (thrown) {
    progress.line(`${palette(context.colours).red('✗')} ${messageOf(thrown)}`);
    code = EXIT.failed;
  }
  ticker.cancel();
  progress.begin('stopping');
  const deadline = context.clock.after(stopMs, () => runner.killAll());
  await runner.stop();
  deadline.cancel();
  alive();
  quiet();
  progress.end('mesh stopped');
  return code;
}

function keepAlive(context: CliContext): () => void {
  let stopped = false;
  let timer = context.clock.after(3_600_000, again);
  function again(): void {
    if (!stopped) timer = context.clock.after(3_600_000, again);
  }
  return () => {
    stopped = true;
    timer.cancel();
  };
}

/** What says once that the mesh is ready, with its addresses and what to try; to be called again and again. */
function announcer(
  runner: MeshRunner,
  progress: Progress,
  context: CliContext,
  manifests: string,
): () => void {
  let announced = false;
  return () => {
    const deployments = runner.cluster().deployments();
    progress.update(deployments);
    if (announced || runner.dashboard() === '' || !runner.settled()) return;
    if (deployments.some((one) => one.ready < one.wanted)) return;
    announced = true;
    runner.markReady();
    const tips = readIfThere(join(manifests, TRY_FILE));
    progress.line(
      [
        `\n${palette(context.colours).bold('mesh ready')}`,
        ...addressLines(runner).map((line) => `  ${line}`),
        ...(tips === undefined ? [] : [`\n${tips.trimEnd()}`]),
        '\nCtrl-C ends the mesh.',
      ].join('\n'),
    );
  };
}

/** The ports that Services have for themselves come before those that had to move. */
function isMoved(entry: { readonly port: number; readonly publishedPort: number }): boolean {
  return entry.port !== entry.publishedPort;
}

/** Where published Services and the dashboard are, one a line. */
function addressLines(runner: MeshRunner): readonly string[] {
  const services = Map.groupBy(runner.cluster().published(), (entry) => entry.key.replace(/:\d+$/, ''));
  const rows = [...services].map(([name, entries]) => {
    const places = entries
      .toSorted((a, b) => Number(isMoved(a)) - Number(isMoved(b)) || b.publishedPort - a.publishedPort)
      .map((entry) => `http://127.0.0.1:${entry.publishedPort}${movedText(entry)}`);
    return [name, places.join(', ')] as const;
  });
  const all = [...rows, ['dashboard', runner.dashboard()] as const];
  const width = Math.max(...all.map(([name]) => name.length));
  return all.map(([name, place]) => `${name.padEnd(width)}   ${place}`);
}

function movedText(entry: PublishedPort): string {
  if (entry.moved === undefined) return '';
  return entry.moved === 'taken' ? ` (port ${entry.port} is taken)` : ` (port ${entry.port} needs root)`;
}
