import { spawn } from 'node:child_process';
import type { Clock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';

/** What a program printed, and how it ended. */
export interface Ran {
  /** 127 where it couldn't be started, 124 where it had to be ended. */
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly input?: string;
  /** Nothing of this process's own environment is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/**
 * Runs programs of the machine to their end. The pod network is set up with iproute2 and util-linux: they are on every
 * Linux, and what they do can be read, tried by hand and replaced by a fake in tests. Only a node's agent, which does it
 * for pod after pod, speaks to the kernel itself.
 */
export interface Host {
  run(command: string, args: readonly string[], options?: RunOptions): Promise<Ran>;
}

const runTimeoutMs = 10_000;
const outputBytesMax = 1_048_576;

/** The real machine. `path` is where programs are looked for. */
export function machineHost(clock: Clock, path: string): Host {
  return {
    run(command, args, options = {}) {
      return new Promise((resolve) => {
        const env = options.env ?? { PATH: path };
        const child = spawn(command, [...args], { cwd: '/', env, stdio: ['pipe', 'pipe', 'pipe'] });
        const text = { out: '', err: '' };
        let late = false;
        const timer = clock.after(options.timeoutMs ?? runTimeoutMs, () => {
          late = true;
          child.kill('SIGKILL');
        });
        child.stdout.on('data', (chunk: Buffer) => {
          if (text.out.length < outputBytesMax) text.out += chunk.toString();
        });
        child.stderr.on('data', (chunk: Buffer) => {
          if (text.err.length < outputBytesMax) text.err += chunk.toString();
        });
        child.on('error', (error) => {
          timer.cancel();
          resolve({ code: 127, out: '', err: error.message });
        });
        child.on('close', (code) => {
          timer.cancel();
          resolve({ code: late ? 124 : (code ?? 1), ...text });
        });
        // One that reads nothing may be gone before it was told.
        child.stdin.on('error', () => undefined);
        child.stdin.end(options.input ?? '');
      });
    },
  };
}

/** Runs a program that has to succeed; returns what it printed. Fails with code `network`. */
export async function succeed(
  host: Host,
  command: string,
  args: readonly string[],
  options?: RunOptions,
): Promise<string> {
  const ran = await host.run(command, args, options);
  if (ran.code === 0) return ran.out;
  const said = (ran.err || ran.out).trim().split('\n').slice(0, 4).join('; ');
  throw new HeddleError('network', `${[command, ...args].join(' ')}: ${said || `exit code ${ran.code}`}`);
}
