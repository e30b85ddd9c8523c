import type { Result } from '../../../common/errors.ts';
import type { Topology } from '../cases.ts';
import type { Seats } from '../seats.ts';
import type { Upstream } from '../upstream.ts';

export type PeerName = 'heddle' | 'envoy' | 'nginx' | 'haproxy' | 'http-proxy';

/** One of the proxies that are compared. */
export interface Peer {
  readonly name: PeerName;
  readonly topologies: readonly Topology[];
  /** Installs it where it is missing. The version, or why it can't be had. */
  find(): Result<string, string>;
  start(site: Site): Promise<RunningPeer>;
}

/** Where a peer runs. */
export interface Site {
  /** A folder of its own, for its configuration. */
  readonly directory: string;
  readonly topology: Topology;
  readonly upstream: Upstream;
  readonly seats: Seats;
}

export interface RunningPeer {
  /** Takes the load. */
  readonly url: string;
  /** The processes whose time counts. */
  pids(): readonly number[];
  stop(): Promise<void>;
}
