import os from 'node:os';

/**
 * Which processor carries what. With two, the load and the upstream share one and the proxy has the other to itself;
 * with one, nothing is pinned and the figures are worth less.
 */
export interface Seats {
  readonly load: number | undefined;
  readonly upstream: number | undefined;
  readonly proxy: number | undefined;
}

export function seats(): Seats {
  const cpus = os.availableParallelism();
  if (cpus < 2) return { load: undefined, upstream: undefined, proxy: undefined };
  return { load: 0, upstream: cpus > 2 ? 2 : 0, proxy: 1 };
}
