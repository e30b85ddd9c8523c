import { writeAtomically } from '../common/atomic-file.ts';
import { startProgram } from '../common/program.ts';
import { parseOptions, USAGE } from './options.ts';
import { startInjector } from './start.ts';

const { options, running, log } = await startProgram(
  {
    ...{ name: 'injector', usage: USAGE, failed: 'the injector failed', stops: 'injector stops' },
    ...{ parse: parseOptions, start: startInjector },
  },
  process.argv.slice(2),
);
await running.ready;
const webhook = running.port;
if (options.portsFile !== undefined) writeAtomically(options.portsFile, `${JSON.stringify({ webhook })}\n`);
log.info('injector ready', { webhook, revision: options.revision });
