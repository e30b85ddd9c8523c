import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('net.py', import.meta.url));
const ANSWER_DEADLINE_MS = 60_000;

/** Where a program runs. */
export interface Place {
  /** Path of its network namespace. */
  readonly netns: string;
  /** Path of its cgroup. */
  readonly cgroup: string;
  readonly uid?: number;
}

/** Starts a program in a namespace and a cgroup, as a user, without capabilities unless that is root. */
export function spawnIn(place: Place, command: readonly string[]): ChildProcess {
  const user = place.uid ?? 0;
  const setpriv = user === 0 ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups'];
  const script = 'echo $$ > "$0/cgroup.procs" && exec "$@"';
  const enter = ['nsenter', `--net=${place.netns}`, ...setpriv, ...command];
  return spawn('sh', ['-c', script, place.cgroup, ...enter], { stdio: ['pipe', 'pipe', 'inherit'] });
}

/** A Python program that does what it is told; net.py has the helpers. */
export class Program {
  readonly #child: ChildProcess;
  readonly #waiting: ((line: string | undefined) => void)[] = [];
  #pid = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('a program without output');
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => this.#waiting.shift()?.(line));
    child.once('close', () => {
      for (const waiting of this.#waiting.splice(0)) waiting(undefined);
    });
  }

  static async start(place: Place): Promise<Program> {
    // Python may lie where only root finds it, so it changes its user by itself.
    const command = ['python3', '-u', SCRIPT, String(place.uid ?? 0)];
    const program = new Program(spawnIn({ ...place, uid: 0 }, command));
    program.#pid = Number(await program.#answer());
    return program;
  }

  get pid(): number {
    return this.#pid;
  }

  /** Runs Python code; the value of `result`. Throws the name of the error it ended with, such as `ECONNREFUSED`. */
  async run(code: string): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(code)}\n`);
    return await this.#answer();
  }

  /** Of an expression. */
  value(expression: string): Promise<unknown> {
    return this.run(`result = ${expression}`);
  }

  /** The error that an expression ends with; `none: …` with its value where it doesn't. */
  async error(expression: string): Promise<string> {
    try {
      return `none: ${JSON.stringify(await this.value(expression))}`;
    } catch (thrown) {
      return thrown instanceof Error ? thrown.message : String(thrown);
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await ended;
  }

  async #answer(): Promise<unknown> {
    const late = AbortSignal.timeout(ANSWER_DEADLINE_MS);
    const line = await new Promise<string | undefined>((resolve, reject) => {
      late.onabort = () => reject(new Error(`no answer within ${ANSWER_DEADLINE_MS} ms`));
      this.#waiting.push(resolve);
    });
    late.onabort = null;
    if (line === undefined) throw new Error('the program ended');
    const answer = JSON.parse(line) as { readonly result?: unknown; readonly error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.result;
  }
}
