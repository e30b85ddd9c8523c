import type { ByteStream } from '../../common/net.ts';
import { Deadline, type Deadlines } from '../http/deadlines.ts';
import { isSecure, resetStream } from '../tls/reset.ts';

export interface TunnelBytes {
  /** Client to upstream. */
  readonly sent: number;
  readonly received: number;
}

/** How long a tunnel may be quiet. */
export interface TunnelLimits {
  readonly tunnelIdleMs: number;
  readonly halfClosedStallMs: number;
}

/**
 * Carries bytes both ways between two connected streams that nobody reads yet, until both directions have ended: each
 * side's FIN is passed on by itself, an abortive end cuts the other side, a slow side holds the fast one back. Both are
 * ended after `tunnelIdleMs` without a byte. Calls `done` once.
 */
export function startTunnel(
  client: ByteStream,
  upstream: ByteStream,
  deadlines: Deadlines,
  limits: TunnelLimits,
  done: (bytes: TunnelBytes) => void,
): void {
  const { tunnelIdleMs, halfClosedStallMs } = limits;
  const lookMs = Math.min(tunnelIdleMs, halfClosedStallMs);
  let open = 2;
  let lastByteMs = deadlines.now();
  const stalls = [stallWatch(client), stallWatch(upstream)];
  const deadline = new Deadline(() => {
    const quietMs = deadlines.now() - lastByteMs;
    const stalled = stalls.map((hasStalled) => hasStalled()).includes(true);
    if (quietMs < tunnelIdleMs && !(stalled && quietMs >= halfClosedStallMs)) {
      deadlines.arm(deadline, lookMs);
      return;
    }
    resetStream(client);
    resetStream(upstream);
  });
  const touch = () => {
    lastByteMs = deadlines.now();
  };
  const closed = () => {
    if (--open > 0) return;
    deadline.cancel();
    done({ sent: sent(), received: received() });
  };
  const sent = carry(client, upstream, touch, closed);
  const received = carry(upstream, client, touch, closed);
  deadlines.arm(deadline, lookMs);
}

/**
 * Tells at each look whether a TLS side that has ended took nothing since the last. Node may tell a reset of TLS as an end,
 * and then what is still being written neither fails nor gets through.
 */
function stallWatch(stream: ByteStream): () => boolean {
  let unsent = 0;
  return () => {
    const before = unsent;
    unsent = stream.writableLength;
    return unsent > 0 && unsent === before && stream.readableEnded && isSecure(stream);
  };
}

/** One direction; returns its byte count. `closed` is called when `from` is gone. */
function carry(from: ByteStream, to: ByteStream, touch: () => void, closed: () => void): () => number {
  let bytes = 0;
  let ended = false;
  from.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    touch();
    if (!to.write(chunk)) from.pause();
  });
  to.on('drain', () => from.resume());
  from.on('end', () => {
    ended = true;
    to.end();
  });
  from.on('error', () => from.destroy());
  from.once('close', () => {
    // Gone without FIN: the other side must not take what it got for the whole.
    if (!ended || !from.writableFinished) resetStream(to);
    closed();
  });
  if (from.readableEnded) {
    ended = true;
    to.end();
  }
  if (from.destroyed) {
    resetStream(to);
    queueMicrotask(closed);
  } else {
    from.resume();
  }
  return () => bytes;
}
