import type { Duplex } from 'node:stream';
import type { Clock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import { opened, PodStream, type PodTarget, type SocketOpener, socketOpener } from './pod-stream.ts';

/** A command that is run inside a container. */
export interface PodCommand {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
}

/**
 * Runs a command in a pod; the stream is its standard input and output. Once nobody has the stream any more the command
 * reads the end of its input; `signal` ends the attempt. Rejects with `kubernetes-unreachable`, `exec-forbidden`, `exec-gone` where there is no such pod, or
 * `exec`; a stream whose command fails is destroyed with `CommandFailed`.
 */
export type PodExec = (command: PodCommand, signal?: AbortSignal) => Promise<Duplex>;

/** `v4.channel.k8s.io`; the last says how the command ended, as a Status (meta/v1). */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3 } as const;
/** Of what a command says on its standard error, from the beginning. */
export const STDERR_BYTES_MAX = 4 * 1024;

/** A command ended with another exit code than 0, or could not be started. Code `exec`. */
export class CommandFailed extends HeddleError {
  /** Undefined: it never ran. */
  readonly exitCode: number | undefined;
  /** What it said on its standard error, or what kept it from being started. */
  readonly said: string;

  constructor(name: string, exitCode: number | undefined, said: string) {
    super('exec', `${name} failed${exitCode === undefined ? '' : ` with exit code ${exitCode}`}: ${said}`);
    this.exitCode = exitCode;
    this.said = said;
  }
}

/** Commands in pods as `kubectl exec -i` runs them, by a kubeconfig. */
export async function podExec(
  kubeconfig: string,
  context: string | undefined,
  clock: Clock,
): Promise<PodExec> {
  return execThrough(await socketOpener(kubeconfig, context), clock);
}

/** The same over any opener of WebSockets. */
export function execThrough(open: SocketOpener, clock: Clock): PodExec {
  return (command, signal) =>
    opened(new ExecStream(targetOf(command), CHANNEL.stdin, clock), {
      ...{ open, path: pathOf(command), clock, signal },
    });
}

function pathOf({ namespace, pod, container, command }: PodCommand): string {
  const query = new URLSearchParams({ container, stdin: 'true', stdout: 'true', stderr: 'true' });
  for (const word of command) query.append('command', word);
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/exec?${query}`;
}

function targetOf({ namespace, pod, container }: PodCommand): PodTarget {
  const name = `a command in container ${container} of pod ${namespace}/${pod}`;
  return {
    name,
    refusal(status) {
      switch (status) {
        case '401':
        case '403':
          return new HeddleError(
            'exec-forbidden',
            `the API server refuses ${name} (${status}): you need the right to get and create pods/exec in namespace ${namespace}`,
          );
        case '404':
          return new HeddleError('exec-gone', `pod ${namespace}/${pod} is gone`);
        default:
          return new HeddleError('exec', `the API server answers ${status} to ${name}`);
      }
    },
  };
}

/** A command's standard input and output. */
class ExecStream extends PodStream {
  #said: Buffer = Buffer.alloc(0);

  protected override message(channel: number, bytes: Buffer): void {
    switch (channel) {
      case CHANNEL.stdout:
        this.carry(bytes);
        break;
      case CHANNEL.stderr:
        this.#said = Buffer.concat([this.#said, bytes.subarray(0, STDERR_BYTES_MAX - this.#said.byteLength)]);
        break;
      case CHANNEL.status:
        // The server begins each channel with an empty message.
        if (bytes.byteLength > 0) this.#ended(bytes.toString('utf8'));
    }
  }

  #ended(text: string): void {
    const status = statusOf(text);
    if (status.success) {
      this.over();
      return;
    }
    const said = this.#said.toString('utf8').trim();
    this.fail(new CommandFailed(this.target.name, status.exitCode, said === '' ? status.message : said));
  }
}

interface EndStatus {
  readonly success: boolean;
  readonly exitCode: number | undefined;
  readonly message: string;
}

/** What a Status says of the end of a command; whatever is none is a failure in its own words. */
function statusOf(text: string): EndStatus {
  let status: JsonValue;
  try {
    status = JSON.parse(text) as JsonValue;
  } catch {
    return { success: false, exitCode: undefined, message: text.trim() };
  }
  const { status: word, message, details } = isJsonObject(status) ? status : {};
  const causes = isJsonObject(details) && Array.isArray(details.causes) ? details.causes : [];
  const cause = causes.find((one) => isJsonObject(one) && one.reason === 'ExitCode');
  const exitCode = isJsonObject(cause) ? Number(cause.message) : undefined;
  return {
    success: word === 'Success',
    exitCode: Number.isInteger(exitCode) ? exitCode : undefined,
    message: typeof message === 'string' ? message : text.trim(),
  };
}
