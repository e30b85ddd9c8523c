import type { ByteStream } from '../../common/net.ts';
import type { EngineLimits } from '../codec/limits.ts';
import { Deadline, type Deadlines } from './deadlines.ts';

/**
 * The end of a client connection after its last answer: our side is closed, and what the client still sends is read over,
 * since closing with unread bytes would send RST and the client might lose the answer (RFC 9112, section 9.6): many clients
 * send their whole body before they read. One that reads slowly is waited for as long as it reads.
 */
export class Farewell {
  readonly #stream: ByteStream;
  readonly #limits: EngineLimits;
  readonly #deadlines: Deadlines;
  readonly #deadline = new Deadline(() => this.#expired());
  #begunMs = 0;
  #bytesLeft = 0;
  /** As the last look found them. */
  #bytesLeftBefore = 0;
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
    this.#bytesLeftBefore = this.#bytesLeft;
    if (!stream.writableEnded) stream.end();
    this.#unsentBytes = stream.writableLength;
    this.#begunMs = this.#deadlines.now();
    this.#progressMs = this.#begunMs;
    this.#deadlines.arm(this.#deadline, this.#limits.lingerQuietMs);
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
    if (this.#clientReads() || this.#clientSends()) {
      this.#deadlines.arm(this.#deadline, this.#limits.lingerQuietMs);
    } else {
      this.#stream.destroy();
    }
  }

  /** Whether the client has still to take a part of its answer, or took the last of it just now. */
  #clientReads(): boolean {
    const before = this.#unsentBytes;
    this.#unsentBytes = this.#stream.writableLength;
    if (this.#unsentBytes === 0) return before > 0;
    const now = this.#deadlines.now();
    if (this.#unsentBytes < before) this.#progressMs = now;
    return now - this.#progressMs < this.#limits.unreadAnswerMs;
  }

  /** Whether the client is still sending, and may. */
  #clientSends(): boolean {
    const before = this.#bytesLeftBefore;
    this.#bytesLeftBefore = this.#bytesLeft;
    return this.#bytesLeft < before && this.#deadlines.now() - this.#begunMs < this.#limits.lingerMs;
  }
}
