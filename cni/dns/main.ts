import { writeAtomically } from '../../common/atomic-file.ts';
import { systemClock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import { jsonLogger } from '../../common/log.ts';
import { systemRandom } from '../../common/random.ts';
import { parseOptions, USAGE } from './options.ts';
import { startDns } from './start.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const parsed = parseOptions(process.argv.slice(2));
if (!parsed.ok) {
  process.stderr.write(`heddle-dns: ${parsed.error.message}\n\n${USAGE}`);
  process.exit(EXIT_USAGE);
}
if (parsed.value === 'help') {
  process.stdout.write(USAGE);
  process.exit(0);
}
const options = parsed.value;
const log = jsonLogger(systemClock, (line) => process.stdout.write(line), options.logLevel);
// A log reader that is gone is no reason to stop answering.
process.stdout.on('error', () => {});

/** Nothing is answered in a state that nobody foresaw: whoever runs this process starts it anew. */
const fail = (what: string) => (thrown: unknown) => {
  log.error(what, { error: messageOf(thrown), ...(thrown instanceof Error ? { stack: thrown.stack } : {}) });
  process.exit(EXIT_FAILED);
};
process.on('uncaughtException', fail('the DNS server failed'));
process.on('unhandledRejection', fail('the DNS server failed'));

const dns = await startDns(options, { clock: systemClock, random: systemRandom, log }).catch(
  (thrown: unknown) => {
    process.stderr.write(`heddle-dns: ${messageOf(thrown)}\n`);
    process.exit(EXIT_FAILED);
  },
);

let ending = false;
const end = () => {
  if (ending) process.exit(EXIT_FAILED);
  ending = true;
  log.info('DNS drains');
  void dns.close().then(() => process.exit(0));
};
process.on('SIGTERM', end);
process.on('SIGINT', end);

if (options.portsFile !== undefined) writeAtomically(options.portsFile, `${JSON.stringify(dns.ports)}\n`);
log.info('DNS ready', { port: dns.ports.dns, addresses: options.listen.join(' ') });
