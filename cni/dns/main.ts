import { writeAtomically } from '../../common/atomic-file.ts';
import { startProgram } from '../../common/program.ts';
import { inEnvironment } from '../../sources/flags.ts';
import { parseOptions, USAGE } from './options.ts';
import { startDns } from './start.ts';

const { options, running, log } = await startProgram(
  {
    ...{ name: 'heddle-dns', usage: USAGE, failed: 'the DNS server failed', stops: 'DNS drains' },
    parse: parseOptions,
    start: (options, deps) => startDns(inEnvironment(options, process.env), deps),
  },
  process.argv.slice(2),
);
const { ports } = running;
if (options.portsFile !== undefined) writeAtomically(options.portsFile, `${JSON.stringify(ports)}\n`);
log.info('DNS ready', { port: ports.dns, addresses: options.listen.join(' ') });
