import { HeddleError } from '../../common/errors.ts';
import { findMesh } from '../client/mesh.ts';
import { type CommandSpec, MESH_OPTIONS } from '../command-line.ts';
import { EXIT } from '../context.ts';

export const dashboard: CommandSpec = {
  name: 'dashboard',
  summary: "print the dashboard's address",
  usage: 'dashboard',
  description: 'Prints the address of the dashboard, to be opened in a browser on this machine.',
  examples: ['heddle dashboard', 'xdg-open "$(heddle dashboard)"'],
  options: MESH_OPTIONS,
  positionalsMax: 0,
  async run(input, context) {
    const { file } = findMesh(input, context);
    if (file.dashboard === '') throw new HeddleError('unreachable', 'the control plane is still starting');
    context.out(`${file.dashboard}\n`);
    return EXIT.done;
  },
};
