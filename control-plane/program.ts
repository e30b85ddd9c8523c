import { writeAtomically } from '../common/atomic-file.ts';
import { systemClock } from '../common/clock.ts';
import { messageOf } from '../common/errors.ts';
import { jsonLogger } from '../common/log.ts';
import { inEnvironment } from '../sources/flags.ts';
import { parseOptions, USAGE } from './options.ts';
import { type ControlPlane, startControlPlane } from './start.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** Runs the control plane until a signal ends it. `program` is the module that Node was started with. */
export async function runControlPlane(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const parsed = parseOptions(args);
  if (!parsed.ok) {
    process.stderr.write(`control-plane: ${parsed.error.message}\n\n${USAGE}`);
    process.exit(EXIT_USAGE);
  }
  if (parsed.value === 'help') {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  const options = inEnvironment(parsed.value, env);
  const log = jsonLogger(systemClock, (line) => process.stdout.write(line), options.logLevel);

  /** Nothing is served in a state that nobody foresaw: whoever runs this process starts it anew. */
  const fail = (thrown: unknown) => {
    const stack = thrown instanceof Error ? thrown.stack : undefined;
    log.error('the control plane failed', { error: messageOf(thrown), stack });
    process.exit(EXIT_FAILED);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  let plane: ControlPlane | undefined;
  let ending = false;
  // From the beginning on: the first process of a container ends by no signal that it does not handle.
  const end = () => {
    if (plane === undefined || ending) process.exit(EXIT_FAILED);
    ending = true;
    log.info('control plane stops');
    void plane.close().then(() => process.exit(0));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);

  plane = await startControlPlane(options, program, systemClock, log).catch((thrown: unknown) => {
    log.error('the control plane can not start', { error: messageOf(thrown) });
    process.stderr.write(`control-plane: ${messageOf(thrown)}\n`);
    process.exit(EXIT_FAILED);
  });
  const { ports, trustDomain } = plane;
  if (options.portsFile !== undefined) {
    writeAtomically(options.portsFile, `${JSON.stringify({ ...ports, trustDomain })}\n`);
  }
  log.info('control plane ready', { ...ports, trustDomain });
}
