import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestCluster } from '../../support/network/cluster.ts';
import { eventually } from '../../support/wait.ts';

const listeningMs = 5_000;
/** Fragments of IPv4, and packets of IPv6 with a fragment header. */
const FRAGMENTS = '(ip[6:2] & 0x3fff != 0) or (ip6[6] == 44)';

export interface Seen {
  readonly packets: number;
  readonly fragments: number;
}

/** Counts what passes between nodes. */
export class Underlay implements Disposable {
  readonly #all: Capture;
  readonly #fragments: Capture;

  private constructor(netns: string) {
    this.#all = new Capture(netns, 'ip or ip6');
    this.#fragments = new Capture(netns, FRAGMENTS);
  }

  /** Sees everything from when it resolves. */
  static async watch({ world }: TestCluster): Promise<Underlay> {
    const underlay = new Underlay(world.netns);
    await Promise.all([underlay.#all.listening(), underlay.#fragments.listening()]);
    return underlay;
  }

  async stop(): Promise<Seen> {
    return { packets: await this.#all.stop(), fragments: await this.#fragments.stop() };
  }

  [Symbol.dispose](): void {
    this.#all.kill();
    this.#fragments.kill();
  }
}

/** A tcpdump that counts. */
class Capture {
  readonly #child: ChildProcess;
  #said = '';

  constructor(netns: string, filter: string) {
    const dump = ['tcpdump', '-ni', 'u0', '-s', '96', '-w', '/dev/null', filter];
    this.#child = spawn('nsenter', [`--net=${netns}`, '--', ...dump], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr?.on('data', (data: Buffer) => {
      this.#said += data;
    });
  }

  async listening(): Promise<void> {
    await eventually(() => this.#said.includes('listening on'), {
      ...{ deadlineMs: listeningMs, what: 'tcpdump listens' },
    });
  }

  /** How many packets it saw; it tells that as it ends. */
  async stop(): Promise<number> {
    const closed = once(this.#child, 'close');
    this.#child.kill('SIGINT');
    await closed;
    const count = /^(\d+) packets? received by filter/m.exec(this.#said)?.[1];
    if (count === undefined) throw new Error(`tcpdump said: ${this.#said}`);
    return Number(count);
  }

  kill(): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
  }
}
