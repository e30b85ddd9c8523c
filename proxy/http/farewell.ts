import type { ByteStream } from '../../common/net.ts';
import type { EngineLimits } from '../codec/limits.ts';
import { Deadline, type Deadlines } from './deadlines.ts';

/**
 * The end of a client connection after its last answer: our side is closed, and what the client still sends is read over
 * for a moment, since closing with unread bytes would send RST and the client might lose the answer (RFC 9112, section
 * 9.6). A client that reads slowly is waited for as long as it reads.
 */
export class Farewell {
  readonly #stream: ByteStream;
  readonly #limits: EngineLimits;
  readonly #deadlines: Deadlines;
  readonly #deadline = new Deadline(() => this.#expired());
  #bytesLeft = 0;
  #unsentBytes = 0;
  #progressMs = 0;
  begun = false;

  constructor(stream: ByteStream, limits: EngineLimits, deadlines: Deadlines) {
    this.#stream = stream;
    this.#limits = limits;
    this.#deadlines = deadlines;
  }

  begin(): void {
    const stream = this.#stream;
    if (stream.destroyed) return;
    this.begun = true;
    this.#bytesLeft = this.#limits.lingerBytesMax;
    if (!stream.writableEnded) stream.end();
    this.#unsentBytes = stream.writableLength;
    this.#progressMs = this.#deadlines.now();
    this.#deadlines.arm(this.#deadline, this.#limits.lingerMs);
  }

  /** The client sent something that nobody wants any more. */
  swallow(chunk: Buffer): void {
    this.#bytesLeft -= chunk.length;
    if (this.#bytesLeft <= 0) this.#stream.destroy();
  }

  cancel(): void {
    this.#deadline.cancel();
  }

  #expired(): void {
    const unsent = this.#unsentBytes;
    this.#unsentBytes = this.#stream.writableLength;
    const now = this.#deadlines.now();
    if (this.#unsentBytes < unsent) this.#progressMs = now;
    // The last of the answer left just now: from here on the client has its moment to close.
    const waits = this.#unsentBytes > 0 ? now - this.#progressMs < this.#limits.unreadAnswerMs : unsent > 0;
    if (waits) this.#deadlines.arm(this.#deadline, this.#limits.lingerMs);
    else this.#stream.destroy();
  }
}
