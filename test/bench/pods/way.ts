import type { Place } from '../../network/sockets/program.ts';

/** One way by which a client's requests reach a server; a case measures several beside each other. */
export interface Way {
  readonly name: string;
  /** Where the load runs. */
  readonly client: Place;
  /** `address:port` that the load asks. */
  readonly target: string;
  /** What is answered there, so that nobody measures another server. */
  readonly body: string;
  /** `address:port` that policy refuses this client; undefined: nothing is refused. */
  readonly refused?: string | undefined;
  /** cgroups of everything that works for a request. */
  readonly cgroups: readonly string[];
}

/** A pod of whatever network. */
export interface BenchPod extends Place {
  readonly ip4: string;
}
