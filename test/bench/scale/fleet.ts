import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Reply, TaskName, Tasks } from './messages.ts';

const WORKER = fileURLToPath(new URL('fleet-worker.ts', import.meta.url));

/** Processes of simulated sidecars; each does its part of a task. */
export class Fleet {
  readonly #workers: readonly ChildProcess[];
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #calls = 0;
  #stopped = false;

  constructor(processes: number) {
    this.#workers = Array.from({ length: processes }, () => {
      const worker = fork(WORKER, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      worker.on('message', (reply: Reply) => this.#waiting.get(reply.id)?.(reply));
      worker.on('exit', (code) => {
        if (!this.#stopped) throw new Error(`a process of sidecars ended with ${code}`);
      });
      return worker;
    });
  }

  /** Gives every process its part; the answers are in the processes' order. */
  ask<Name extends TaskName>(
    task: Name,
    given: Tasks[Name]['given'] | ((part: number, parts: number) => Tasks[Name]['given']),
  ): Promise<Tasks[Name]['answer'][]> {
    const parts = this.#workers.length;
    return Promise.all(
      this.#workers.map((worker, part) => {
        const own = typeof given === 'function' ? given(part, parts) : given;
        return this.#send<Name>(worker, task, own);
      }),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(
      this.#workers.map(async (worker) => {
        if (worker.exitCode !== null) return;
        const ended = once(worker, 'exit');
        worker.disconnect();
        await ended;
      }),
    );
  }

  #send<Name extends TaskName>(
    worker: ChildProcess,
    task: Name,
    given: Tasks[Name]['given'],
  ): Promise<Tasks[Name]['answer']> {
    const id = ++this.#calls;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ answer, error }) => {
        this.#waiting.delete(id);
        if (error === undefined) resolve(answer as Tasks[Name]['answer']);
        else reject(new Error(`${task}: ${error}`));
      });
      worker.send({ id, task, given });
    });
  }
}
