// The test cluster by hand: node bin/pinned test/kubernetes/cluster/main.ts build|up|down; README.md beside this folder has more.
import { parseArgs } from 'node:util';
import { HeddleError, messageOf } from '../../../common/errors.ts';
import { buildParts, locateParts } from './build.ts';
import { down } from './down.ts';
import { cacheFolder, layoutOf } from './layout.ts';
import { up } from './up.ts';

const USAGE = `usage: node bin/pinned test/kubernetes/cluster/main.ts COMMAND
  build [--own-cases]                                everything that a cluster is made of, where it is missing; and Kubernetes' own cases
  up [--name NAME] [--nodes N] [--images TAR ...]    two nodes unless it is said; 0: an API server with its controllers
  down [--name NAME]                                 nothing is left of it
The name is "heddle" unless it is said.
`;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string', default: 'heddle' },
      nodes: { type: 'string', default: '2' },
      images: { type: 'string', multiple: true, default: [] },
      'own-cases': { type: 'boolean', default: false },
    },
  });
  const [command, ...more] = positionals;
  // `--images A B`: what the shell made of `--images *.tar`.
  if (more.length > 0 && (command !== 'up' || values.images.length === 0))
    throw new HeddleError('usage', USAGE);
  const built = locateParts(cacheFolder(process.env));
  const layout = layoutOf(values.name, Number(values.nodes));
  if (command === 'build') buildParts(built, print, { ownCases: values['own-cases'] });
  else if (command === 'up') await up(layout, { built, images: [...values.images, ...more], report: print });
  else if (command === 'down')
    print((await down(layout)) ? `${layout.name} is gone` : `there was no ${layout.name}`);
  else throw new HeddleError('usage', USAGE);
}

try {
  await main();
} catch (thrown) {
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exitCode = 1;
}
