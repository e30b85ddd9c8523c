import type { Socket } from 'node:net';
import type { Clock } from '../../../common/clock.ts';
import { asCniError, errorAnswer } from './answers.ts';
import { type CniFrame, frameLength, readFrame } from './frame.ts';
import { CNI_CODES, CniError } from './handler.ts';
import { NEWEST_CNI_VERSION } from './versions.ts';

export interface ConnectionLimits {
  /** For a whole request to arrive. */
  readonly requestReadMs: number;
  /** For a plugin to take its answer. */
  readonly answerWriteMs: number;
}

export interface CniConnection {
  readonly closed: Promise<void>;
  /** Ends it where nothing was asked yet. */
  endUnlessBusy(): void;
}

/**
 * One connection, one call: reads a request, asks `answer` and writes what it gives. `gone` is aborted when the plugin
 * leaves first.
 */
export function answerOnce(
  socket: Socket,
  clock: Clock,
  limits: ConnectionLimits,
  answer: (frame: CniFrame, gone: AbortSignal) => Promise<Buffer>,
): CniConnection {
  const gone = new AbortController();
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  let bytes: Buffer = Buffer.alloc(0);
  let busy = false;
  let timer = clock.after(limits.requestReadMs, () => refuse('the call did not arrive in time'), {
    background: true,
  });

  const write = (output: Buffer) => {
    timer.cancel();
    timer = clock.after(limits.answerWriteMs, () => socket.destroy(), { background: true });
    socket.end(output);
  };
  const refuse = (message: string) => {
    busy = true;
    write(errorAnswer(NEWEST_CNI_VERSION, new CniError(CNI_CODES.ioFailure, message)));
  };
  const receive = (chunk: Buffer) => {
    if (busy) return;
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    let frame: CniFrame;
    try {
      const length = frameLength(bytes);
      if (length === undefined || bytes.length < length) return;
      frame = readFrame(bytes);
    } catch (thrown) {
      busy = true;
      write(errorAnswer(NEWEST_CNI_VERSION, asCniError(thrown)));
      return;
    }
    busy = true;
    timer.cancel();
    void answer(frame, gone.signal).then(write);
  };

  socket.on('data', receive);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    timer.cancel();
    gone.abort();
    resolve();
  });
  return {
    closed,
    endUnlessBusy: () => {
      if (!busy) socket.destroy();
    },
  };
}
