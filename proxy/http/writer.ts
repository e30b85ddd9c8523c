import type { ByteStream } from '../../common/net.ts';

/** Up to here bytes join the text around them: one string in one write is cheaper than a buffer made of both. */
const JOINED_BYTES_MAX = 1_024;
/** Up to here pieces are copied into one buffer: one write is dearer than copying this much. */
const GATHER_BYTES_MAX = 65_536;

/**
 * Gathers what one event has to say to a stream and writes it at once: a head with its whole body is one system call (and
 * one TLS record). Text is latin1, one byte a character.
 */
export class Writer {
  readonly #stream: ByteStream;
  #text = '';
  #pieces: (string | Buffer)[] = [];
  #bytes = 0;
  bytesWritten = 0;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  text(text: string): void {
    this.#text += text;
    this.#bytes += text.length;
  }

  bytes(chunk: Buffer): void {
    if (chunk.length <= JOINED_BYTES_MAX && this.#pieces.length === 0) {
      this.text(chunk.toString('latin1'));
      return;
    }
    if (this.#text !== '') {
      this.#pieces.push(this.#text);
      this.#text = '';
    }
    this.#pieces.push(chunk);
    this.#bytes += chunk.length;
  }

  /** Writes what was gathered. False where the stream asks to wait for `drain`. */
  flush(): boolean {
    const stream = this.#stream;
    if (this.#bytes === 0 || stream.destroyed || stream.writableEnded) {
      this.#clear();
      return !stream.writableNeedDrain;
    }
    this.bytesWritten += this.#bytes;
    const text = this.#text;
    const pieces = this.#pieces;
    if (pieces.length === 0) {
      this.#clear();
      return stream.write(text, 'latin1');
    }
    if (text !== '') pieces.push(text);
    const gathered = this.#bytes <= GATHER_BYTES_MAX ? gather(pieces, this.#bytes) : undefined;
    this.#clear();
    return gathered !== undefined ? stream.write(gathered) : writeAll(stream, pieces);
  }

  #clear(): void {
    this.#text = '';
    if (this.#pieces.length > 0) this.#pieces = [];
    this.#bytes = 0;
  }
}

function gather(pieces: readonly (string | Buffer)[], bytes: number): Buffer {
  const only = pieces[0];
  if (pieces.length === 1 && typeof only === 'object') return only;
  const out = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const piece of pieces) {
    at += typeof piece === 'string' ? out.write(piece, at, 'latin1') : piece.copy(out, at);
  }
  return out;
}

function writeAll(stream: ByteStream, pieces: readonly (string | Buffer)[]): boolean {
  stream.cork();
  for (const piece of pieces) {
    if (typeof piece === 'string') stream.write(piece, 'latin1');
    else stream.write(piece);
  }
  stream.uncork();
  return !stream.writableNeedDrain;
}
