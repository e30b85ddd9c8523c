import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { readIfThere } from '../../common/atomic-file.ts';
import { sleep } from '../../common/clock.ts';
import { SIDECAR, SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import { ANY_MESH_OPTIONS, kubectl, localMesh } from '../client/which.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { didYouMean } from '../suggest.ts';

const pollMs = 100;
const readBytesMax = 64 * 1024;

export const logs: CommandSpec = {
  name: 'logs',
  summary: "show a container's output",
  usage: 'logs POD [-n NAMESPACE] [-c CONTAINER] [-f] [--tail N] [--previous]',
  description:
    'Shows the output of a container; without -c that of the first app container.\n"control-plane" and "injector" in namespace heddle-system are the mesh\'s own.',
  examples: [
    'heddle logs web-6c8f7d5b9c-x2v4z -n shop -f',
    'heddle logs control-plane -n heddle-system --tail 20',
  ],
  options: {
    ...ANY_MESH_OPTIONS,
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'of the pod (default "default")' },
    container: { type: 'string', short: 'c', value: 'CONTAINER', help: 'container of the pod' },
    follow: { type: 'boolean', short: 'f', help: 'go on with what is written' },
    tail: { type: 'string', value: 'N', help: 'only the last N lines' },
    previous: { type: 'boolean', short: 'p', help: 'of the run before this one' },
  },
  positionalsMax: 1,
  run: runLogs,
};

async function runLogs(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const [named] = input.positionals;
  if (named === undefined) throw usageError('say which pod');
  // kubectl's `deploy/web` and `pod/web-…`: both are the start of a pod's name here.
  const pod = named.replace(/^(pods?|po|deployments?|deploy|jobs?)\//, '');
  const tail = input.number('tail', 0, 1_000_000);
  const { paths } = localMesh(input, context, kubectl('logs', input));
  const namespace = input.text('namespace') ?? 'default';
  const file =
    namespace === SYSTEM_NAMESPACE
      ? join(paths.logs, SYSTEM_NAMESPACE, `${plain(pod)}.log`)
      : containerLog(join(paths.logs, 'pods'), namespace, pod, input.text('container'));
  const path = input.flag('previous') ? `${file}.previous` : file;
  if (!existsSync(path))
    throw new HeddleError(
      'not-found',
      input.flag('previous') ? `${pod} has no previous run` : `${pod} has written nothing`,
    );
  const older = input.flag('previous') ? '' : (readIfThere(`${path}.1`) ?? '');
  const text = older + (readIfThere(path) ?? '');
  context.out(tail === undefined ? text : lastLines(text, tail));
  if (input.flag('follow')) await follow(path, statSync(path).size, context);
  return EXIT.done;
}

/** The log of a container; the pod may be named by the start of its name where that means only one. */
function containerLog(
  directory: string,
  namespace: string,
  pod: string,
  container: string | undefined,
): string {
  const prefix = `${namespace}_${plain(pod)}`;
  const all = existsSync(directory) ? readdirSync(directory) : [];
  const matches = all.includes(prefix) ? [prefix] : all.filter((name) => name.startsWith(`${prefix}-`));
  const [match] = matches;
  if (match === undefined) throw noLog(all, namespace, pod);
  if (matches.length > 1)
    throw new HeddleError(
      'ambiguous',
      `"${pod}" may be ${matches.map((name) => name.slice(namespace.length + 1)).join(', ')}`,
    );
  const names = readdirSync(join(directory, match))
    .filter((name) => name.endsWith('.log'))
    .map((name) => name.slice(0, -'.log'.length));
  const chosen = container ?? names.find((name) => name !== SIDECAR.container) ?? names[0] ?? '';
  if (!names.includes(chosen))
    throw new HeddleError(
      'not-found',
      `pod ${pod} has no container "${chosen}" with a log; it has ${names.join(', ')}`,
    );
  return join(directory, match, `${chosen}.log`);
}

function noLog(directories: readonly string[], namespace: string, pod: string): HeddleError {
  const pods = directories.map((name) => name.split('_'));
  const elsewhere = pods.find(([, name]) => name === pod || name?.startsWith(`${pod}-`))?.[0];
  const here = pods.filter(([where]) => where === namespace).map(([, name]) => name ?? '');
  const hint =
    elsewhere === undefined ? didYouMean(pod, here) : `; namespace ${elsewhere} has one: -n ${elsewhere}`;
  return new HeddleError('not-found', `no pod "${pod}" in namespace ${namespace} has a log${hint}`);
}

/** A name that stays inside the log folder. */
function plain(name: string): string {
  if (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) throw usageError(`"${name}" is not a pod's name`);
  return name;
}

function lastLines(text: string, count: number): string {
  if (count === 0) return '';
  const lines = text.endsWith('\n') ? text.slice(0, -1).split('\n') : text.split('\n');
  return text === '' ? '' : `${lines.slice(-count).join('\n')}\n`;
}

/** Prints what is appended until Ctrl-C, or until the file is gone with its pod. A new run's file is followed, too. */
async function follow(path: string, from: number, context: CliContext): Promise<void> {
  let stopped = false;
  const quiet = context.onInterrupt(() => {
    stopped = true;
  });
  const decoder = new StringDecoder('utf8');
  let position = from;
  let descriptor = openSync(path, 'r');
  const drain = () => {
    const buffer = Buffer.alloc(readBytesMax);
    for (;;) {
      const read = readSync(descriptor, buffer, 0, readBytesMax, position);
      if (read === 0) return;
      position += read;
      context.out(decoder.write(buffer.subarray(0, read)));
    }
  };
  while (!stopped) {
    const now = statSync(path, { throwIfNoEntry: false });
    drain();
    if (now === undefined) break;
    if (now.ino !== fstatSync(descriptor).ino) {
      // What the old file still got is printed; the one in its place begins a new run, or follows a full one.
      closeSync(descriptor);
      descriptor = openSync(path, 'r');
      position = 0;
      continue;
    }
    await sleep(context.clock, pollMs);
  }
  closeSync(descriptor);
  quiet();
}
