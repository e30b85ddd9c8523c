import type { ByteStream } from '../../common/net.ts';

/** Why reading stands still: bits of one number. */
export const PAUSED_UPLOAD = 1;
export const PAUSED_PIPELINE = 2;

/** Reading of a stream that several parties may hold up: it goes on when the last of them lets go. */
export class Reading {
  readonly #stream: ByteStream;
  #pauses = 0;
  #stopped = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  pause(why: number): void {
    if (this.#pauses === 0) this.#stream.pause();
    this.#pauses |= why;
  }

  resume(why: number): void {
    if ((this.#pauses & why) === 0) return;
    this.#pauses &= ~why;
    if (this.#pauses === 0 && !this.#stopped) this.#stream.resume();
  }

  resumeAll(): void {
    this.#pauses = 0;
    this.#stream.resume();
  }

  /** For good: somebody else reads from here on. */
  stop(): void {
    this.#stopped = true;
    this.#stream.pause();
  }
}
