import { systemClock } from '../common/clock.ts';
import { HeddleError, messageOf } from '../common/errors.ts';
import { tcpDialer } from '../common/net.ts';
import { systemRandom } from '../common/random.ts';
import { helpText, parseCommandLine } from './command-line.ts';
import { COMMANDS, overview } from './commands/index.ts';
import { type CliContext, EXIT, type ExitCode } from './context.ts';
import { didYouMean } from './suggest.ts';

/** Width of output that goes to a file or another program. */
const FILE_COLUMNS = 120;
/** Two signals within this are one Ctrl-C: a terminal sends it to the launcher as well, which passes it on. */
const sameInterruptMs = 500;

/** Runs one command line; every failure becomes a line on stderr and an exit code. */
async function run(args: readonly string[], context: CliContext): Promise<ExitCode> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h') {
    context.out(overview());
    return name === undefined ? EXIT.usage : EXIT.done;
  }
  const command = COMMANDS.get(name === '--version' ? 'version' : name);
  if (command === undefined) {
    const near = didYouMean(name, [...COMMANDS.keys()]);
    context.err(`heddle: unknown command "${name}"${near}\n"heddle help" lists the commands.\n`);
    return EXIT.usage;
  }
  try {
    const input = parseCommandLine(command, rest);
    if (input !== 'help') return await command.run(input, context);
    context.out(helpText(command));
    return EXIT.done;
  } catch (thrown) {
    context.err(`heddle ${command.name}: ${messageOf(thrown)}\n`);
    const code = thrown instanceof HeddleError ? thrown.code : '';
    if (code === 'usage')
      context.err(`Usage: heddle ${command.usage}\nSee "heddle ${command.name} --help".\n`);
    return code === 'usage' ? EXIT.usage : code === 'unreachable' ? EXIT.unreachable : EXIT.failed;
  }
}

function onInterrupt(task: (count: number) => void): () => void {
  let count = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  const handler = () => {
    const nowMs = systemClock.now();
    if (nowMs - lastMs < sameInterruptMs) return;
    lastMs = nowMs;
    task(++count);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, handler);
  return () => {
    for (const signal of signals) process.off(signal, handler);
  };
}

/** A reader that closes early (`| head`) ends the output; a command that cleans up after itself is asked to end. */
function outputClosed(): void {
  if (process.listenerCount('SIGHUP') > 0) process.kill(process.pid, 'SIGHUP');
  else process.exit(EXIT.done);
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

const terminal = process.stdout.isTTY === true;
process.stdout.once('error', outputClosed);
process.stdout.on('error', () => undefined);
process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
  random: systemRandom,
  dialer: tcpDialer,
  node: process.execPath,
  nodeVersion: process.versions.node,
  terminal,
  colours: terminal && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb',
  // A terminal that does not know its width says 0.
  columns: process.stdout.columns || FILE_COLUMNS,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  readStdin,
  onInterrupt,
});
