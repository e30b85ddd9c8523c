import { sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { findMesh } from '../client/mesh.ts';
import { type CommandSpec, MESH_OPTIONS } from '../command-line.ts';
import { EXIT } from '../context.ts';
import { isSameProcess } from '../local/process-identity.ts';

const stopMs = 60_000;
const pollMs = 50;

export const down: CommandSpec = {
  name: 'down',
  summary: 'end the mesh of this machine',
  usage: 'down [--name NAME]',
  description:
    'Ends the mesh: apps first, then their sidecars, then the control plane.\nApplied objects, traces and logs stay for the next "heddle up".',
  examples: ['heddle down'],
  options: MESH_OPTIONS,
  positionalsMax: 0,
  async run(input, context) {
    const { file } = findMesh(input, context);
    process.kill(file.pid, 'SIGTERM');
    const endMs = context.clock.now() + stopMs;
    while (isSameProcess(file.pid, file.startTime)) {
      if (context.clock.now() > endMs)
        throw new HeddleError('timeout', `process ${file.pid} did not end within ${stopMs / 1_000} s`);
      await sleep(context.clock, pollMs);
    }
    context.out(`mesh ${file.name} stopped\n`);
    return EXIT.done;
  },
};
