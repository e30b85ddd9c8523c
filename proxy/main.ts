import { systemClock, turnClock } from '../common/clock.ts';
import { messageOf } from '../common/errors.ts';
import { jsonLogger } from '../common/log.ts';
import { tcpDialer } from '../common/net.ts';
import { systemRandom } from '../common/random.ts';
import { readBootstrap } from './bootstrap.ts';
import { tcpListen } from './listener/tcp-listen.ts';
import { systemResolver } from './route/dns-resolver.ts';
import { NameCache } from './route/name-cache.ts';
import { Sidecar } from './sidecar.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

const bootstrap = readBootstrap(process.env);
if (!bootstrap.ok) {
  process.stderr.write(`heddle-proxy can't start:\n${bootstrap.error.map((line) => `  ${line}\n`).join('')}`);
  process.exit(EXIT_USAGE);
}
const log = jsonLogger(systemClock, (line) => process.stdout.write(line), bootstrap.value.logLevel);
// A log reader that is gone is no reason to stop serving.
process.stdout.on('error', () => {});

/** Nothing is served in a state that nobody foresaw: whoever runs this process starts it anew. */
function fail(thrown: unknown): never {
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  log.error('the sidecar failed', { error: messageOf(thrown), stack });
  process.exit(EXIT_FAILED);
}
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

if (bootstrap.value.unknown.length > 0) {
  log.warn('variables that mean nothing here', { names: bootstrap.value.unknown.join(', ') });
}
let ending = false;
const end = () => {
  if (ending) process.exit(EXIT_FAILED);
  ending = true;
  sidecar.stop().then(() => process.exit(0), fail);
};
const sidecar = new Sidecar(bootstrap.value, {
  ...{ clock: turnClock(systemClock), random: systemRandom, dialer: tcpDialer, listen: tcpListen },
  ...{ resolver: new NameCache(systemResolver, systemClock), log, quit: end },
  processStats() {
    const { rss, heapUsed } = process.memoryUsage();
    return { uptimeMs: systemClock.now(), residentBytes: rss, heapUsedBytes: heapUsed };
  },
});
process.on('SIGTERM', end);
process.on('SIGINT', end);
await sidecar.open();
// From the start of the process: how long a pod's app waits for its sidecar.
log.info('sidecar ready', { afterMs: Math.round(systemClock.now()) });
