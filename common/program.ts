import { type Clock, systemClock } from './clock.ts';
import { messageOf, type Result } from './errors.ts';
import { jsonLogger, type Logger, type LogLevel } from './log.ts';
import { type Random, systemRandom } from './random.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** One of the mesh's own processes: read its command line, start, run until a signal, end. */
export interface Program<Options extends { readonly logLevel: LogLevel }, Running> {
  /** Before its messages on standard error: `injector`. */
  readonly name: string;
  readonly usage: string;
  /** Logged when something nobody foresaw ends it. */
  readonly failed: string;
  /** Logged when a signal does. */
  readonly stops: string;
  parse(args: readonly string[]): Result<Options | 'help'>;
  start(
    options: Options,
    deps: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
  ): Promise<Running & { close(): Promise<void> }>;
}

export interface Started<Options, Running> {
  readonly options: Options;
  readonly running: Running;
  readonly log: Logger;
}

/**
 * Starts a program and arranges its end: exit code 0 after SIGTERM or SIGINT once everything is closed, 1 at a second signal,
 * at a failed start and in a state that nobody foresaw (whoever runs the process starts it anew), 2 at wrong usage.
 */
export async function startProgram<Options extends { readonly logLevel: LogLevel }, Running>(
  program: Program<Options, Running>,
  args: readonly string[],
): Promise<Started<Options, Running>> {
  const { name, usage } = program;
  const parsed = program.parse(args);
  if (!parsed.ok) {
    process.stderr.write(`${name}: ${parsed.error.message}\n\n${usage}`);
    process.exit(EXIT_USAGE);
  }
  if (parsed.value === 'help') {
    process.stdout.write(usage);
    process.exit(0);
  }
  const options = parsed.value;
  const log = jsonLogger(systemClock, (line) => process.stdout.write(line), options.logLevel);
  // A log reader that is gone is no reason to stop serving.
  process.stdout.on('error', () => {});

  const fail = (thrown: unknown) => {
    const stack = thrown instanceof Error ? { stack: thrown.stack } : {};
    log.error(program.failed, { error: messageOf(thrown), ...stack });
    process.exit(EXIT_FAILED);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  const deps = { clock: systemClock, random: systemRandom, log };
  const running = await program.start(options, deps).catch((thrown: unknown) => {
    process.stderr.write(`${name}: ${messageOf(thrown)}\n`);
    process.exit(EXIT_FAILED);
  });

  let ending = false;
  const end = () => {
    if (ending) process.exit(EXIT_FAILED);
    ending = true;
    log.info(program.stops);
    void running.close().then(() => process.exit(0));
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  return { options, running, log };
}
