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

/** Reads bodies, all of them together within `bodiesBytesMax`: many large reviews at once can't fill memory. */
export class BodyReader {
  readonly #limits: AdmissionLimits;
  #bytes = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** The whole body as text. Rejects with `HttpRefusal` 413 or 503 beyond a limit, and where the client goes away. */
  async read(request: IncomingMessage): Promise<string> {
    const { bodyBytesMax, bodiesBytesMax } = this.#limits;
    if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) throw tooLarge(bodyBytesMax);
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      // A refusal is still to be answered: the end of this loop must not end the connection.
      for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        this.#bytes += chunk.length;
        if (bytes > bodyBytesMax) throw tooLarge(bodyBytesMax);
        if (this.#bytes > bodiesBytesMax)
          throw new HttpRefusal(
            503,
            `reviews of more than ${bodiesBytesMax} bytes are being read: try again`,
          );
        chunks.push(chunk);
      }
      return Buffer.concat(chunks).toString('utf8');
    } finally {
      this.#bytes -= bytes;
    }
  }
}

function tooLarge(bodyBytesMax: number): HttpRefusal {
  return new HttpRefusal(413, `a review may have ${bodyBytesMax} bytes`);
}
