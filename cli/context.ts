import type { Clock } from '../common/clock.ts';
import type { Dialer } from '../common/net.ts';
import type { Random } from '../common/random.ts';

/** Of CONTRACTS: done, failed, wrong usage, mesh not reachable. */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What a command may touch of the machine; made in main.ts alone. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly dialer: Dialer;
  /** The Node that runs this, and will run the mesh's processes. */
  readonly node: string;
  readonly nodeVersion: string;
  readonly terminal: boolean;
  readonly colours: boolean;
  /** Width of the terminal in characters; a usual one where there is none. */
  readonly columns: number;
  out(text: string): void;
  err(text: string): void;
  readStdin(): Promise<string>;
  /** Calls back on the first and each later SIGINT or SIGTERM. Returns the function that stops it. */
  onInterrupt(task: (count: number) => void): () => void;
}
