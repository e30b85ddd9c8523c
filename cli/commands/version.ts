import { readFileSync } from 'node:fs';
import type { JsonValue } from '../../common/json.ts';
import type { CommandSpec } from '../command-line.ts';
import { EXIT } from '../context.ts';
import { textAt } from '../kube/fields.ts';

export const version: CommandSpec = {
  name: 'version',
  summary: 'versions of Heddle and Node',
  usage: 'version',
  description: 'Shows the versions of Heddle and of the Node that runs it.',
  examples: [],
  options: {},
  positionalsMax: 0,
  async run(_input, context) {
    const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
    context.out(
      `heddle ${textAt(JSON.parse(text) as JsonValue, 'version') ?? 'unknown'} (Node ${context.nodeVersion})\n`,
    );
    return EXIT.done;
  },
};
