import type { EngineLimits } from '../codec/limits.ts';
import type { ClientConnection, ResponseSink } from '../upstream/client-connection.ts';
import { Deadline, type Deadlines } from './deadlines.ts';

/** A larger one costs more to read than a new connection. */
const DISCARD_BYTES_MAX = 65_536;

/** Reads a response that nobody wants to its end, if that is near, so that its connection can serve another request. */
export class DiscardedResponse implements ResponseSink {
  readonly #upstream: ClientConnection;
  readonly #deadline = new Deadline(() => this.#upstream.abandon());
  #bytes = 0;
  #complete = false;

  constructor(upstream: ClientConnection, limits: EngineLimits, deadlines: Deadlines) {
    this.#upstream = upstream;
    deadlines.arm(this.#deadline, limits.lingerQuietMs);
  }

  onHead(): void {
    this.#bytes = 0;
  }

  onBody(chunk: Buffer): void {
    this.#bytes += chunk.length;
  }

  onBodyEnd(): void {
    this.#complete = true;
  }

  settleOutput(): void {
    if (this.#complete) {
      this.#deadline.cancel();
      this.#upstream.release();
    } else if (this.#bytes > DISCARD_BYTES_MAX) {
      this.#deadline.cancel();
      this.#upstream.abandon();
    }
  }

  onUpstreamDrain(): void {
    // Nothing more is written.
  }

  onUpstreamGone(): void {
    this.#deadline.cancel();
  }
}
