import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const OUTPUT_BYTES_MAX = 256 * 1024;

/** One of Heddle's own processes, run by the Node that runs the tests. */
export interface HeddleProcess {
  readonly child: ChildProcess;
  /** What it printed so far, the newest part. */
  output(): string;
  exited(): boolean;
  /** Sends the signal and waits for the end, by SIGKILL after `graceMs`. */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<void>;
}

/** `entry` is a path from the checkout's root, or an absolute one. */
export function startProcess(
  entry: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): HeddleProcess {
  const child = spawn(process.execPath, [resolve(ROOT, entry), ...args], {
    cwd: ROOT,
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  const keep = (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-OUTPUT_BYTES_MAX);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const closed = once(child, 'close');
  const exited = () => child.exitCode !== null || child.signalCode !== null;
  return {
    child,
    output: () => text,
    exited,
    async stop(signal = 'SIGTERM', graceMs = 10_000) {
      if (!exited()) child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}
