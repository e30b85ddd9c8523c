import { CHUNKED } from '../codec/framing.ts';
import type { Writer } from './writer.ts';

const LAST_CHUNK = '0\r\n';

/** Writes one piece of a body in its framing. */
export function writeBodyChunk(writer: Writer, framing: number, chunk: Buffer): void {
  if (framing !== CHUNKED) {
    writer.bytes(chunk);
    return;
  }
  writer.text(`${chunk.length.toString(16)}\r\n`);
  writer.bytes(chunk);
  writer.text('\r\n');
}

/** Writes the end of a body in its framing. Trailers are whole lines, and go nowhere where there are no chunks. */
export function writeBodyEnd(writer: Writer, framing: number, trailers: string): void {
  if (framing === CHUNKED) writer.text(`${LAST_CHUNK}${trailers}\r\n`);
}

/**
 * A request's body while it may have to be sent again, or can't be sent yet. Beyond `replayBytesMax` it is let go as soon
 * as an upstream takes it: then there is no second attempt.
 */
export class BodyBuffer {
  #chunks: Buffer[] = [];
  #bytes = 0;
  replayBytesMax: number;
  /** Whether everything so far is still held. */
  replayable = true;
  ended = false;
  trailers = '';

  constructor(replayBytesMax: number) {
    this.replayBytesMax = replayBytesMax;
  }

  get bytesHeld(): number {
    return this.#bytes;
  }

  get held(): readonly Buffer[] {
    return this.#chunks;
  }

  push(chunk: Buffer): void {
    if (!this.replayable) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  end(trailers: string): void {
    this.ended = true;
    this.trailers = trailers;
  }

  /** Writes everything held. */
  writeTo(writer: Writer, framing: number): void {
    for (const chunk of this.#chunks) writeBodyChunk(writer, framing, chunk);
    if (this.ended) writeBodyEnd(writer, framing, this.trailers);
  }

  /** Lets go of a body that is too large to be sent twice, now that it has been sent once. */
  trim(): void {
    if (this.#bytes <= this.replayBytesMax) return;
    this.replayable = false;
    this.release();
  }

  release(): void {
    if (this.#bytes === 0) return;
    this.#chunks = [];
    this.#bytes = 0;
  }
}
