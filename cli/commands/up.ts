import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readIfThere } from '../../common/atomic-file.ts';
import { PORTS } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { type CommandInput, type CommandSpec, MESH_OPTIONS, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { choosePort } from '../local/free-port.ts';
import { MeshRunner } from '../local/mesh-runner.ts';
import { isSameProcess } from '../local/process-identity.ts';
import { Progress } from '../local/progress.ts';
import { readMeshFile, type StatePaths, statePaths } from '../local/state-dir.ts';
import { palette } from '../output/colour.ts';

const DEFAULT_NODES = 2;
const TRY_FILE = 'heddle-try.txt';
/** After this the end is no longer waited for. */
const stopMs = 45_000;

export const up: CommandSpec = {
  name: 'up',
  summary: 'run a mesh on this machine',
  usage: 'up [DIR] [--name NAME] [--nodes N] [--network auto|loopback] [--dashboard-port N]',
  description:
    'Runs the manifests of DIR (default: the current folder) as a mesh on this machine, until Ctrl-C or "heddle down".\nContainers are processes: their images are not pulled, their commands are run.',
  examples: ['heddle up demo/shop', 'heddle up ./manifests --name second --dashboard-port 15081'],
  options: {
    ...MESH_OPTIONS,
    network: { type: 'string', value: 'KIND', help: 'auto or loopback (ebpf is not in this build)' },
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
  const manifests = resolve(context.cwd, input.positionals[0] ?? '.');
  if (statSync(manifests, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw usageError(`${manifests} is not a folder of manifests`);
  const network = input.choice('network', ['auto', 'loopback', 'ebpf'], 'auto');
  if (network === 'ebpf')
    throw new HeddleError('unsupported', 'the eBPF pod network is not in this build; use --network loopback');
  const name = input.text('name') ?? 'default';
  const stateDir = input.text('state-dir');
  const paths = statePaths(
    context.env,
    name,
    stateDir === undefined ? undefined : resolve(context.cwd, stateDir),
  );
  const other = runningMesh(paths);
  if (other !== undefined)
    throw new HeddleError(
      'running',
      `mesh "${name}" already runs as process ${other}; end it with "heddle down" or choose another --name`,
    );
  const progress = new Progress(context);
  if (network === 'auto')
    progress.line(
      'network: loopback (the eBPF pod network is not in this build); "heddle check" says what that leaves out',
    );
  const asked = input.number('dashboard-port', 0, 65_535) ?? PORTS.dashboard;
  const dashboardPort = await choosePort(asked);
  if (asked !== 0 && dashboardPort !== asked)
    progress.warn(`port ${asked} is taken: the dashboard is on ${dashboardPort}`);
  const nodes = input.number('nodes', 1, 250) ?? DEFAULT_NODES;
  const runner = new MeshRunner({ context, paths, name, manifests, dashboardPort, nodes, progress });
  return supervise(runner, context, progress, manifests);
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
  const ticker = context.clock.every(200, () => announce(runner, progress, context, manifests));
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
  progress.line('mesh stopped');
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

const announced = new WeakSet<MeshRunner>();

/** Says once that the mesh is ready, with its addresses and what to try. */
function announce(runner: MeshRunner, progress: Progress, context: CliContext, manifests: string): void {
  const deployments = runner.cluster().deployments();
  progress.update(deployments);
  if (announced.has(runner) || runner.dashboard() === '' || !runner.settled()) return;
  if (deployments.some((one) => one.ready < one.wanted)) return;
  announced.add(runner);
  runner.markReady();
  const { bold } = palette(context.colours);
  progress.line(bold('mesh ready'));
  for (const entry of runner.cluster().published()) {
    const moved = entry.port === entry.publishedPort ? '' : ` (port ${entry.port} is taken)`;
    progress.line(`  ${entry.key.split(':')[0]}: http://127.0.0.1:${entry.publishedPort}${moved}`);
  }
  progress.line(`  dashboard: ${runner.dashboard()}`);
  const tips = readIfThere(join(manifests, TRY_FILE));
  if (tips !== undefined) progress.line(`\n${tips.trimEnd()}`);
}

/** The process that runs the mesh of this state directory, or undefined. */
export function runningMesh(paths: StatePaths): number | undefined {
  const mesh = readMeshFile(paths);
  return mesh !== undefined && isSameProcess(mesh.pid, mesh.startTime) ? mesh.pid : undefined;
}
