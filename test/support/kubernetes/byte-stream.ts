/** What a server sends, piece by piece, until it ends, breaks off or nobody listens any more. */
export class ByteStream implements AsyncIterable<Uint8Array> {
  readonly #chunks: Uint8Array[] = [];
  readonly #onClose: () => void;
  #failure: unknown;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(signal: AbortSignal, onClose: () => void = () => undefined) {
    this.#onClose = onClose;
    signal.addEventListener('abort', () => this.fail(signal.reason), { once: true });
  }

  get ended(): boolean {
    return this.#ended;
  }

  push(text: string): void {
    if (this.#ended) return;
    this.#chunks.push(Buffer.from(text));
    this.#wake?.();
  }

  end(): void {
    this.#close();
  }

  fail(reason: unknown): void {
    this.#failure ??= reason;
    this.#close();
  }

  #close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onClose();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk !== undefined) yield chunk;
        else if (this.#failure !== undefined) throw this.#failure;
        else if (this.#ended) return;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      this.#close();
    }
  }
}
