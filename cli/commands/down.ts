import { existsSync } from 'node:fs';
import { sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { findMesh, pathsOf } from '../client/mesh.ts';
import { ANY_MESH_OPTIONS, refuseCluster } from '../client/which.ts';
import type { CommandInput, CommandSpec } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { claimState } from '../local/claim.ts';
import { endLeftovers } from '../local/leftovers.ts';
import { isSameProcess } from '../local/process-identity.ts';
import { readMeshFile } from '../local/state-dir.ts';

const stopMs = 60_000;
const pollMs = 50;

export const down: CommandSpec = {
  name: 'down',
  summary: 'end the mesh of this machine',
  usage: 'down [--name NAME]',
  description:
    'Ends the mesh: apps first, then their sidecars, then the control plane. Cleans up after one that crashed.\nApplied objects, traces and logs stay for the next "heddle up".',
  examples: ['heddle down'],
  options: ANY_MESH_OPTIONS,
  positionalsMax: 0,
  run: runDown,
};

async function runDown(input: CommandInput, context: CliContext): Promise<ExitCode> {
  refuseCluster(input, 'heddle uninstall');
  const paths = pathsOf(input, context);
  const file = readMeshFile(paths);
  if (file !== undefined && isSameProcess(file.pid, file.startTime)) {
    process.kill(file.pid, 'SIGTERM');
    const endMs = context.clock.now() + stopMs;
    while (isSameProcess(file.pid, file.startTime)) {
      if (context.clock.now() > endMs)
        throw new HeddleError('timeout', `process ${file.pid} did not end within ${stopMs / 1_000} s`);
      await sleep(context.clock, pollMs);
    }
    context.out(`mesh ${file.name} stopped\n`);
    return EXIT.done;
  }
  if (file === undefined && !existsSync(paths.childrenFile) && !existsSync(paths.networkFile)) {
    findMesh(input, context);
    return EXIT.done;
  }
  const name = input.text('name') ?? 'default';
  const release = await claimState(paths, name);
  const ended = await endLeftovers(paths, context.clock, context.env.PATH ?? '');
  await release();
  const what = ended.length === 0 ? 'its files are removed' : `ended ${ended.join(', ')}`;
  context.out(`mesh ${name} had crashed: ${what}\n`);
  return EXIT.done;
}
