import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../../support/wait.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** As the launcher sets it: a test that runs the command fifty times needn't compile it as often. */
const ENV = {
  ...process.env,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(ROOT, 'node_modules', '.cache', 'heddle'),
};
const APP = fileURLToPath(new URL('./app.mjs', import.meta.url));
/** A mesh may take this long to be ready on a machine that runs other tests as well. */
const readyMs = 90_000;
const endMs = 60_000;

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A local mesh of real processes in a folder of its own, driven by the command as a person would. */
export class LocalMesh {
  /** Everything of this mesh lies below: what still mentions it after the end was left behind. */
  readonly root = mkdtempSync(join(tmpdir(), 'heddle-local-'));
  readonly manifests = join(this.root, 'manifests');
  readonly state = join(this.root, 'state');
  readonly #netns: string | undefined;
  #supervisor: ChildProcess | undefined;
  #output = '';

  /** `netns`: name of the network namespace that everything runs in; needs root. */
  constructor(netns?: string) {
    this.#netns = netns;
    mkdirSync(this.manifests);
    writeFileSync(join(this.manifests, 'app.mjs'), readFileSync(APP));
  }

  /** Writes a file of the manifests' folder. */
  write(file: string, text: string): void {
    writeFileSync(join(this.manifests, file), text);
  }

  remove(file: string): void {
    rmSync(join(this.manifests, file));
  }

  get pid(): number {
    return this.#supervisor?.pid ?? 0;
  }
  get output(): string {
    return this.#output;
  }
  get ended(): boolean {
    const supervisor = this.#supervisor;
    return supervisor === undefined || supervisor.exitCode !== null || supervisor.signalCode !== null;
  }
  get exitCode(): number | null {
    return this.#supervisor?.exitCode ?? null;
  }

  /** `heddle up` in a process group of its own; more options may follow. Returns at once. */
  start(...options: readonly string[]): void {
    this.#output = '';
    const args = ['up', this.manifests, '--state-dir', this.state, ...options];
    if (!options.includes('--dashboard-port')) args.push('--dashboard-port', '0');
    // As root, the other kind would make interfaces and routes on the machine that runs the tests.
    if (!options.includes('--network')) args.push('--network', 'loopback');
    const [command, ...words] = this.#command(args);
    const supervisor = spawn(command, words, {
      cwd: this.root,
      env: ENV,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [supervisor.stdout, supervisor.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
      });
    this.#supervisor = supervisor;
  }

  /** Starts the mesh and waits until it says that it is ready. */
  async up(...options: readonly string[]): Promise<void> {
    this.start(...options);
    const ready = /^mesh ready$[\s\S]*Ctrl-C ends the mesh/m;
    await this.until(() => ready.test(this.#output) || this.ended, 'the mesh is ready');
    if (!ready.test(this.#output)) throw new Error(`up ended:\n${this.#output}`);
  }

  /** Waits until the output of `up` matches. */
  async says(pattern: RegExp, deadlineMs = readyMs): Promise<void> {
    await this.until(() => pattern.test(this.#output), `it says ${pattern}`, deadlineMs);
  }

  async until(check: () => boolean | Promise<boolean>, what: string, deadlineMs = readyMs): Promise<void> {
    try {
      await eventually(check, { deadlineMs, what });
    } catch (thrown) {
      throw new Error(`${thrown instanceof Error ? thrown.message : thrown}; up printed:\n${this.#output}`);
    }
  }

  /** Sends a signal to the supervisor, or to its whole group as a terminal's Ctrl-C does, and waits for its end. */
  async end(signal: NodeJS.Signals, whom: 'supervisor' | 'group' = 'supervisor'): Promise<void> {
    if (!this.ended) process.kill(whom === 'group' ? -this.pid : this.pid, signal);
    await this.until(() => this.ended, `the supervisor ends after ${signal}`, endMs);
  }

  /** Runs the command against this mesh. */
  async heddle(...args: readonly string[]): Promise<Ran> {
    return this.heddleWith('', ...args);
  }

  /** The same with something on standard input. */
  async heddleWith(input: string, ...args: readonly string[]): Promise<Ran> {
    const [command, ...words] = this.#command([...args, '--state-dir', this.state]);
    const child = spawn(command, words, {
      cwd: this.root,
      env: ENV,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const ran = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => {
      ran.out += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      ran.err += chunk.toString();
    });
    child.stdin.end(input);
    const [code] = await once(child, 'close');
    return { code: typeof code === 'number' ? code : null, ...ran };
  }

  #command(args: readonly string[]): readonly [string, ...string[]] {
    const program = [process.execPath, join(ROOT, 'cli/main.ts'), ...args] as const;
    return this.#netns === undefined
      ? [...program]
      : ['nsenter', `--net=/run/netns/${this.#netns}`, '--', ...program];
  }

  /** Objects of a kind as `get -o json` prints them. */
  async get(kind: string, namespace: string): Promise<readonly Shown[]> {
    const { out } = await this.heddle('get', kind, '-n', namespace, '-o', 'json');
    return (JSON.parse(out) as { items: Shown[] }).items;
  }

  /** Ends what still runs and removes the folder. */
  async close(): Promise<void> {
    if (!this.ended) await this.end('SIGTERM');
    // What a crashed mesh made in the kernel.
    if (this.#netns !== undefined) await this.heddle('down');
    for (const { pid } of processesOf(this.root)) process.kill(pid, 'SIGKILL');
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** What tests read of an object. */
export interface Shown {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: { readonly initContainers?: readonly unknown[]; readonly nodeName?: string };
  readonly status: {
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly { type: string; status: string }[];
  };
}

export function isReady(pod: Shown): boolean {
  return pod.status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
}

/** Processes that live in a folder, name it on their command line, or have it in their environment. */
export function processesOf(folder: string): readonly { readonly pid: number; readonly what: string }[] {
  const found: { pid: number; what: string }[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const read = (file: string) => {
      try {
        return file === 'cwd'
          ? readlinkSync(`/proc/${pid}/cwd`)
          : readFileSync(`/proc/${pid}/${file}`, 'utf8');
      } catch {
        // It ended meanwhile.
        return '';
      }
    };
    const what = read('cmdline').replaceAll('\0', ' ').trim();
    if (what !== '' && [what, read('cwd'), read('environ')].some((text) => text.includes(folder)))
      found.push({ pid, what });
  }
  return found;
}
