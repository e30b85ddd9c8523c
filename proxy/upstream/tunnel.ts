import type { ByteStream } from '../../common/net.ts';
import { Deadline, type Deadlines } from '../http/deadlines.ts';
import { resetStream } from '../tls/reset.ts';

export interface TunnelBytes {
  /** Client to upstream. */
  readonly sent: number;
  readonly received: number;
}

/**
 * Carries bytes both ways between two connected streams that nobody reads yet, until both directions have ended: each
 * side's FIN is passed on by itself, an abortive end cuts the other side, a slow side holds the fast one back. `idleMs`
 * without a byte ends both. Calls `done` once.
 */
export function startTunnel(
  client: ByteStream,
  upstream: ByteStream,
  deadlines: Deadlines,
  idleMs: number,
  done: (bytes: TunnelBytes) => void,
): void {
  let open = 2;
  let lastByteMs = deadlines.now();
  const deadline = new Deadline(() => {
    const quietMs = deadlines.now() - lastByteMs;
    if (quietMs < idleMs) {
      deadlines.arm(deadline, idleMs - quietMs);
      return;
    }
    client.destroy();
    upstream.destroy();
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
  deadlines.arm(deadline, idleMs);
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
