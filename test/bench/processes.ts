import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { eventually } from '../support/wait.ts';

const OUTPUT_CHARS_MAX = 64 * 1024;
const READY_MS_MAX = 15_000;
const STOP_MS_MAX = 5_000;

export interface Program {
  readonly pid: number;
  output(): string;
  stop(): Promise<void>;
}

export interface ProgramOptions {
  readonly seat: number | undefined;
  /** Polled until it holds. */
  readonly ready: () => boolean | Promise<boolean>;
  /** How long it may take until it is. Milliseconds. */
  readonly readyMsMax?: number;
  /** Replaces the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a program on its seat, and waits until it is ready. */
export async function startProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions,
): Promise<Program> {
  const line =
    options.seat === undefined
      ? [command, ...args]
      : ['taskset', '-c', String(options.seat), command, ...args];
  const [program = command, ...rest] = line;
  const child = spawn(program, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.env === undefined ? {} : { env: { PATH: process.env.PATH ?? '', ...options.env } }),
  });
  let text = '';
  const keep = (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  child.on('error', (error) => keep(Buffer.from(error.message)));
  const closed = once(child, 'close');
  const stop = () => stopChild(child, closed);
  try {
    await eventually(
      () => {
        if (child.pid === undefined || child.exitCode !== null)
          throw new Error(`${command} ended with ${child.exitCode}: ${text}`);
        return options.ready();
      },
      { deadlineMs: options.readyMsMax ?? READY_MS_MAX, what: `${line.join(' ')} is ready` },
    );
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { pid: child.pid ?? 0, output: () => text, stop };
}

async function stopChild(child: ChildProcess, closed: Promise<unknown>): Promise<void> {
  if (child.pid === undefined) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX);
  await closed;
  clearTimeout(timer);
}

/** Whether somebody listens there. */
export function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const done = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.on('connect', () => done(true));
    socket.on('error', () => done(false));
  });
}
