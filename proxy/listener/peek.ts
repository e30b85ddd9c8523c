import type { ByteStream } from '../../common/net.ts';
import { Deadline, type Deadlines } from '../http/deadlines.ts';

export interface PeekOptions<Verdict> {
  readonly timeoutMs: number;
  /** How much longer to wait, once, for what has begun as these bytes. */
  readonly extraMs?: (bytes: Buffer) => number;
  /** How long to wait from the first bytes on, instead of what is left of `timeoutMs`; undefined: no change. */
  readonly begunMs?: (bytes: Buffer) => number;
  readonly bytesMax: number;
  /** What the bytes say so far; undefined where more are needed. */
  readonly judge: (bytes: Buffer) => Verdict | undefined;
  /** What undecided bytes are taken for, once there will be no more of them in time or room. None at all: silence. */
  readonly undecided: (bytes: Buffer) => Verdict;
}

/**
 * Looks at the first bytes of a stream and puts them back. `done` is called once, with the stream paused, unless the
 * stream closes or the look is cancelled first. `ended` are bytes that could not be put back because the sender has finished.
 */
export function peek<Verdict>(
  stream: ByteStream,
  deadlines: Deadlines,
  options: PeekOptions<Verdict>,
  done: (verdict: Verdict, ended: Buffer | undefined) => void,
): { cancel(): void } {
  let held: Buffer = Buffer.alloc(0);
  const stop = () => {
    deadline.cancel();
    stream.off('data', onData);
    stream.off('end', onEnd);
    stream.off('close', stop);
    stream.pause();
  };
  const decide = (verdict: Verdict) => {
    stop();
    const ended = stream.readableEnded && held.length > 0 ? held : undefined;
    if (ended === undefined && held.length > 0) stream.unshift(held);
    done(verdict, ended);
  };
  const onData = (chunk: Buffer) => {
    const begins = held.length === 0;
    held = begins ? chunk : Buffer.concat([held, chunk]);
    const verdict = options.judge(held);
    if (verdict !== undefined) decide(verdict);
    else if (held.length >= options.bytesMax) decide(options.undecided(held));
    else if (begins && options.begunMs !== undefined) {
      deadline.cancel();
      deadlines.arm(deadline, options.begunMs(held));
    }
  };
  const onEnd = () => decide(options.undecided(held));
  let extraMs = (bytes: Buffer) => options.extraMs?.(bytes) ?? 0;
  const deadline = new Deadline(() => {
    const extra = extraMs(held);
    extraMs = () => 0;
    if (extra > 0) deadlines.arm(deadline, extra);
    else decide(options.undecided(held));
  });
  stream.on('data', onData);
  stream.on('end', onEnd);
  stream.on('close', stop);
  deadlines.arm(deadline, options.timeoutMs);
  // Whoever had the stream before may have paused it.
  stream.resume();
  return {
    cancel: () => {
      stop();
      if (held.length > 0 && !stream.readableEnded) stream.unshift(held);
    },
  };
}
