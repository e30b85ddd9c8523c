import type { Clock } from '../../common/clock.ts';
import { followDrops } from '../../common/drop-stream.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { type DropFlow, DropFlows } from './flows.ts';

/** What the dashboard shows of dropped packets. */
export interface DropsView {
  /** Newest first. */
  flows(): readonly DropFlow[];
  agents(): { readonly connected: number; readonly all: number };
  /** Runs after either changed. Returns the function that stops it. */
  onChange(listener: () => void): () => void;
}

export interface DropFeed extends DropsView {
  close(): Promise<void>;
}

export interface DropFeedOptions {
  /** Admin sockets of the nodes' agents; one that isn't there yet is waited for. */
  readonly sockets: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** Follows the drops of all nodes, through restarts of their agents. */
export function startDropFeed({ sockets, clock, log }: DropFeedOptions): DropFeed {
  const flows = new DropFlows();
  const connected = new Set<string>();
  const listeners = new Set<() => void>();
  const ending = new AbortController();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const following = sockets.map((socket) => {
    let told = false;
    return followDrops({
      ...{ socket, clock, signal: ending.signal, query: new URLSearchParams() },
      connected() {
        connected.add(socket);
        told = false;
        changed();
      },
      record(record) {
        flows.add(record);
        changed();
      },
      disconnected(thrown) {
        if (connected.delete(socket)) changed();
        if (told || thrown === undefined) return;
        told = true;
        log.info('the drops of a node are not known until its agent answers', {
          ...{ socket, error: messageOf(thrown) },
        });
      },
    });
  });
  return {
    flows: () => flows.all(),
    agents: () => ({ connected: connected.size, all: sockets.length }),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async close() {
      ending.abort();
      await Promise.all(following);
    },
  };
}
