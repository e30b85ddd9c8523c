import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { writeAtomically } from '../../common/atomic-file.ts';
import type { Clock } from '../../common/clock.ts';
import { CLEAN_SCRIPT } from '../network/made.ts';
import { processStartTime, signalGroup } from './process-identity.ts';
import type { StatePaths } from './state-dir.ts';

export interface ChildSpec {
  /** For messages and the children file. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why the process could not even start. */
  readonly error: string | undefined;
}

/** A process of the mesh, in a group of its own. */
export interface Child {
  readonly pid: number | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles when the process is gone and its output has been read to the end. Never rejects. */
  readonly exited: Promise<ExitStatus>;
  running(): boolean;
  /** Signals the whole group. */
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM to the process, SIGKILL to what is left of the group after `graceMs`. */
  stop(graceMs: number): Promise<ExitStatus>;
}

/** The watchdog's name in the children file. */
export const WATCHDOG = 'watchdog';
/** Output after the process ended that a grandchild keeps open is read no longer than this. */
const outputDrainMs = 500;

/**
 * All processes that run for one mesh. Each is written to the children file before it can do anything, and a watchdog
 * ends them all should this process die without doing so itself.
 */
export class Children {
  readonly #clock: Clock;
  readonly #file: string;
  readonly #stateRoot: string;
  readonly #running = new Map<number, { startTime: string; name: string }>();
  #watchdog: ChildProcess | undefined;

  constructor(clock: Clock, paths: StatePaths) {
    this.#clock = clock;
    this.#file = paths.childrenFile;
    this.#stateRoot = paths.root;
  }

  startWatchdog(): void {
    const script = fileURLToPath(new URL('./watchdog.sh', import.meta.url));
    const watchdog = spawn('/bin/sh', [script, this.#stateRoot, CLEAN_SCRIPT], {
      detached: true,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    this.#watchdog = watchdog;
    // Without a watchdog a crash is still cleaned up by the next `up`.
    watchdog.on('error', () => undefined);
    watchdog.stdin?.on('error', () => watchdog.kill('SIGKILL'));
    const { pid } = watchdog;
    if (pid === undefined) return;
    this.#record(pid, WATCHDOG);
    watchdog.on('exit', () => this.#forget(pid));
  }

  async stopWatchdog(): Promise<void> {
    const watchdog = this.#watchdog;
    if (watchdog?.pid === undefined || watchdog.exitCode !== null || watchdog.signalCode !== null) return;
    const gone = once(watchdog, 'exit');
    watchdog.stdin?.end();
    await gone;
  }

  /** Ends every process at once; the watchdog stays, in case this process doesn't. */
  killAll(): void {
    for (const pid of this.#running.keys()) if (pid !== this.#watchdog?.pid) signalGroup(pid, 'SIGKILL');
  }

  running(): readonly { pid: number; name: string }[] {
    return [...this.#running].map(([pid, { name }]) => ({ pid, name }));
  }

  start(spec: ChildSpec): Child {
    const child = spawn(spec.command, [...spec.args], {
      cwd: spec.cwd,
      env: spec.env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const pid = child.pid;
    if (pid !== undefined) this.#record(pid, spec.name);
    let ended = pid === undefined;
    const exited = this.#exitOf(child, () => {
      ended = true;
    });
    const signal = (name: NodeJS.Signals) => {
      if (pid !== undefined && this.#running.has(pid)) signalGroup(pid, name);
    };
    return {
      pid,
      stdout: child.stdout,
      stderr: child.stderr,
      exited,
      running: () => !ended,
      signal,
      stop: async (graceMs) => {
        signal('SIGTERM');
        const timer = this.#clock.after(graceMs, () => signal('SIGKILL'));
        const status = await exited;
        timer.cancel();
        return status;
      },
    };
  }

  #exitOf(child: ChildProcess, onEnd: () => void): Promise<ExitStatus> {
    return new Promise((resolve) => {
      child.on('error', (error) => {
        onEnd();
        if (child.pid === undefined) resolve({ code: null, signal: null, error: error.message });
      });
      child.on('exit', (code, signal) => {
        onEnd();
        const pid = child.pid;
        if (pid !== undefined) {
          // What the process left behind in its group has lost its owner.
          signalGroup(pid, 'SIGKILL');
          this.#forget(pid);
        }
        const give = () => {
          timer.cancel();
          resolve({ code, signal, error: undefined });
        };
        const timer = this.#clock.after(outputDrainMs, () => {
          child.stdout?.destroy();
          child.stderr?.destroy();
          give();
        });
        child.on('close', give);
      });
    });
  }

  #record(pid: number, name: string): void {
    this.#running.set(pid, { startTime: processStartTime(pid) ?? '', name });
    this.#save();
  }

  #forget(pid: number): void {
    this.#running.delete(pid);
    this.#save();
  }

  #save(): void {
    const lines = [...this.#running].map(([pid, { startTime, name }]) => `${pid} ${startTime} ${name}\n`);
    writeAtomically(this.#file, lines.join(''));
  }
}
