import type { CommandSpec } from '../command-line.ts';
import { EXIT } from '../context.ts';
import { heddleVersion } from '../version.ts';

export const version: CommandSpec = {
  name: 'version',
  summary: 'versions of Heddle and Node',
  usage: 'version',
  description: 'Shows the versions of Heddle and of the Node that runs it.',
  examples: [],
  options: {},
  positionalsMax: 0,
  async run(_input, context) {
    context.out(`heddle ${heddleVersion()} (Node ${context.nodeVersion})\n`);
    return EXIT.done;
  },
};
