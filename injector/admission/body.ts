import type { IncomingMessage } from 'node:http';
import type { AdmissionLimits } from './limits.ts';

/** An answer in terms of HTTP. The message says what to do. */
export class HttpRefusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Most reviews are shorter. */
const firstBytes = 16 * 1024;

/** Reads bodies, all of them together within `bodiesBytesMax`: many large reviews at once can't fill memory. */
export class BodyReader {
  readonly #limits: AdmissionLimits;
  #bytes = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** The whole body as text. Rejects with `HttpRefusal` 413 or 503 beyond a limit, and where the client goes away. */
  async read(request: IncomingMessage): Promise<string> {
    const { bodyBytesMax, bodiesBytesMax, smallBodyBytesMax } = this.#limits;
    const counted = (buffer: Buffer) => Math.max(0, buffer.length - smallBodyBytesMax);
    if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) throw tooLarge(bodyBytesMax);
    let held = Buffer.alloc(0);
    let bytes = 0;
    try {
      // A refusal is still to be answered: the end of this loop must not end the connection.
      for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        if (bytes + chunk.length > bodyBytesMax) throw tooLarge(bodyBytesMax);
        // Copied, since each piece may be a byte, and as an object of its own a hundred.
        if (bytes + chunk.length > held.length) {
          const size = Math.min(bodyBytesMax, Math.max(firstBytes, 2 * held.length, bytes + chunk.length));
          const grown = Buffer.allocUnsafe(size);
          this.#bytes += counted(grown) - counted(held);
          held.copy(grown, 0, 0, bytes);
          held = grown;
        }
        if (counted(held) > 0 && this.#bytes > bodiesBytesMax)
          throw new HttpRefusal(
            503,
            `large reviews of more than ${bodiesBytesMax} bytes are being read: try again`,
          );
        bytes += chunk.copy(held, bytes);
      }
      return held.toString('utf8', 0, bytes);
    } finally {
      this.#bytes -= counted(held);
    }
  }
}

function tooLarge(bodyBytesMax: number): HttpRefusal {
  return new HttpRefusal(413, `a review may have ${bodyBytesMax} bytes`);
}
