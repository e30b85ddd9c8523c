import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { CaseProbe } from '../../support/policy/case.ts';

const SCRIPT = fileURLToPath(new URL('prober.py', import.meta.url));
const answerMs = 30_000;

/** A network namespace that packets are sent from and looked for in. */
export interface ProbePlace {
  /** Path. */
  readonly netns: string;
  /** Undefined: every device. */
  readonly device: string | undefined;
  readonly addresses: readonly string[];
}

/** What came where it was sent to since the last look, by the places of the probes. */
export interface Arrivals {
  readonly arrived: readonly number[];
  /** The source by which a packet came, where that isn't the one it was sent with. */
  readonly renamed: Readonly<Record<string, string>>;
  /** Whose packet came with another destination. */
  readonly astray: readonly number[];
}

/** One Python program that sends packets from all places and listens in all of them: `prober.py`. */
export class PacketProber {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  #waiting: ((line: string | undefined) => void) | undefined;

  private constructor(child: ChildProcess) {
    if (child.stdout === null) throw new Error('a program without output');
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout });
    this.#lines.on('line', (line) => this.#waiting?.(line));
    this.#lines.once('close', () => this.#waiting?.(undefined));
  }

  static async start(places: readonly ProbePlace[], probes: readonly CaseProbe[]): Promise<PacketProber> {
    const prober = new PacketProber(spawn('python3', ['-u', SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] }));
    const rows = probes.map(({ from, to, protocol, port }) => [from, to, protocol, port]);
    await prober.#ask({ places, probes: rows });
    return prober;
  }

  /** Sends the probes from `first` to before `end`; each round has a source port and a mark of its own. */
  async send(round: number, first: number, end: number): Promise<void> {
    await this.#ask({ do: 'send', round, first, end });
  }

  async arrived(round: number): Promise<Arrivals> {
    return (await this.#ask({ do: 'arrived', round })) as Arrivals;
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await ended;
    this.#lines.close();
  }

  async #ask(line: object): Promise<unknown> {
    const answer = new Promise<string | undefined>((resolve) => {
      this.#waiting = resolve;
    });
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`);
    const timer = setTimeout(() => this.#waiting?.(undefined), answerMs);
    const text = await answer;
    clearTimeout(timer);
    if (text === undefined) throw new Error(`the prober ended, or gave no answer within ${answerMs} ms`);
    return JSON.parse(text);
  }
}
