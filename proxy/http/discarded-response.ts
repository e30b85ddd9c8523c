import type { ClientConnection, ResponseSink } from '../upstream/client-connection.ts';

/** A larger one costs more to read than a new connection. */
const DISCARD_BYTES_MAX = 65_536;

/** Reads a response that nobody wants to its end, so that its connection can serve another request. */
export class DiscardedResponse implements ResponseSink {
  readonly #upstream: ClientConnection;
  #bytes = 0;
  #complete = false;

  constructor(upstream: ClientConnection) {
    this.#upstream = upstream;
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
    if (this.#complete) this.#upstream.release();
    else if (this.#bytes > DISCARD_BYTES_MAX) this.#upstream.abandon();
  }

  onUpstreamDrain(): void {
    this.#bytes = Math.max(0, this.#bytes);
  }

  onUpstreamGone(): void {
    this.#complete = true;
  }
}
