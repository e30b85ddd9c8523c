import { Fields } from './fields.ts';
import { CHUNKED, UNTIL_CLOSE } from './framing.ts';
import { HeadBuffer } from './head-buffer.ts';
import type { EngineLimits } from './limits.ts';

/** Takes a body as it is decoded. `trailers` are whole field lines with their CRLFs, or empty. */
export interface BodySink {
  onBody(chunk: Buffer): void;
  onBodyEnd(trailers: string): void;
}

type ChunkState =
  /** First digit of a size. */
  | 'size-start'
  | 'size'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  /** After the last chunk: the empty line that ends the body, or the first byte of trailers. */
  | 'last'
  | 'last-lf'
  | 'trailers';

const SIZE_DIGITS_MAX = 13;
/** Chunks smaller than this are handed on together, as far as one read brings them: each by itself costs far more than its bytes. */
const SMALL_CHUNK_BYTES = 256;
const GATHERED_BYTES_MAX = 2_048;
/** What stands after the last chunk of a body: `CRLF 0 CRLF CRLF`. */
const LAST_BYTES = 7;
const CR = 0x0d;
const LF = 0x0a;

/**
 * Takes the framing off a body, whatever pieces it comes in: a length, `CHUNKED` (RFC 9112, section 7.1; extensions are
 * read over) or `UNTIL_CLOSE`. One decoder serves a connection: `start` begins the next body.
 */
export class BodyDecoder {
  readonly #sink: BodySink;
  readonly #limits: EngineLimits;
  #framing = 0;
  #remaining = 0;
  #state: ChunkState = 'size-start';
  #lineBytes = 0;
  #digits = 0;
  #trailers: HeadBuffer | undefined;
  #gathered: Buffer | undefined;
  #gatheredBytes = 0;
  done = true;

  constructor(sink: BodySink, limits: EngineLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  /** Begins a body. One of length 0 is over at once, without `onBodyEnd`: the caller knows. */
  start(framing: number): void {
    this.#framing = framing;
    this.#remaining = Math.max(framing, 0);
    this.#state = 'size-start';
    this.#trailers = undefined;
    this.#lineBytes = 0;
    this.#digits = 0;
    this.done = framing === 0;
  }

  /** Decodes from `at`; returns the position after the last byte used, or what is wrong. */
  decode(bytes: Buffer, at: number): number | string {
    if (this.#framing === CHUNKED) return this.#decodeChunked(bytes, at);
    const take =
      this.#framing === UNTIL_CLOSE ? bytes.length - at : Math.min(this.#remaining, bytes.length - at);
    if (take > 0) this.#sink.onBody(slice(bytes, at, at + take));
    if (this.#framing === UNTIL_CLOSE) return at + take;
    this.#remaining -= take;
    if (this.#remaining === 0) this.#end('');
    return at + take;
  }

  /** The stream ended. True where that ends the body properly. */
  finishAtClose(): boolean {
    if (this.#framing !== UNTIL_CLOSE || this.done) return false;
    this.#end('');
    return true;
  }

  #decodeChunked(bytes: Buffer, start: number): number | string {
    let at = start;
    while (at < bytes.length) {
      if (this.#state === 'data') {
        const take = Math.min(this.#remaining, bytes.length - at);
        this.#handOn(bytes, at, at + take);
        at += take;
        this.#remaining -= take;
        if (this.#remaining === 0) this.#state = 'data-cr';
      } else if (this.#state === 'trailers') {
        this.#flush();
        return this.#readTrailers(bytes, at);
      } else if (this.#state === 'last' && bytes[at] !== CR) {
        this.#state = 'trailers';
      } else {
        const fault = this.#step(bytes[at] ?? 0);
        if (fault !== undefined) return fault;
        at++;
        if (this.done) return at;
      }
    }
    this.#flush();
    return at;
  }

  #handOn(bytes: Buffer, from: number, to: number): void {
    const alone = this.#gatheredBytes === 0 && bytes.length - to <= LAST_BYTES;
    if (alone || to - from >= SMALL_CHUNK_BYTES) {
      this.#flush();
      this.#sink.onBody(slice(bytes, from, to));
      return;
    }
    if (this.#gatheredBytes + to - from > GATHERED_BYTES_MAX) this.#flush();
    this.#gathered ??= Buffer.allocUnsafe(GATHERED_BYTES_MAX);
    this.#gatheredBytes += bytes.copy(this.#gathered, this.#gatheredBytes, from, to);
  }

  #flush(): void {
    if (this.#gathered === undefined) return;
    const gathered = this.#gathered.subarray(0, this.#gatheredBytes);
    this.#gathered = undefined;
    this.#gatheredBytes = 0;
    this.#sink.onBody(gathered);
  }

  /** One byte of a chunk's frame. */
  #step(code: number): string | undefined {
    switch (this.#state) {
      case 'size-start':
      case 'size':
        return this.#readSize(code);
      case 'extension':
        if (code === CR) this.#state = 'size-lf';
        else if ((code < 0x20 && code !== 9) || code === 0x7f)
          return 'a control character in a chunk extension';
        if (++this.#lineBytes > this.#limits.chunkLineBytesMax) return 'a chunk extension is too long';
        return undefined;
      case 'size-lf':
        if (code !== LF) return 'a chunk size line ends in a bare CR';
        this.#state = this.#remaining === 0 ? 'last' : 'data';
        return undefined;
      case 'data-cr':
        if (code !== CR) return 'a chunk is longer than its size';
        this.#state = 'data-lf';
        return undefined;
      case 'data-lf':
        if (code !== LF) return 'a chunk is longer than its size';
        this.#state = 'size-start';
        return undefined;
      case 'last':
        this.#state = 'last-lf';
        return undefined;
      case 'last-lf':
        if (code !== LF) return 'a bare CR stands after the last chunk';
        this.#end('');
        return undefined;
      case 'data':
      case 'trailers':
        return 'unreachable state of a chunk';
    }
  }

  #readSize(code: number): string | undefined {
    const digit = hexDigit(code);
    if (digit >= 0) {
      if (this.#state === 'size-start') {
        this.#remaining = 0;
        this.#digits = 0;
        this.#lineBytes = 0;
        this.#state = 'size';
      }
      if (++this.#digits > SIZE_DIGITS_MAX) return 'a chunk size has too many digits';
      this.#remaining = this.#remaining * 16 + digit;
      return undefined;
    }
    if (this.#state === 'size-start') return 'a chunk size is not hexadecimal';
    if (code === CR) this.#state = 'size-lf';
    else if (code === 0x3b) this.#state = 'extension';
    else return 'a chunk size is followed by something other than CRLF or an extension';
    return undefined;
  }

  #readTrailers(bytes: Buffer, at: number): number | string {
    this.#trailers ??= new HeadBuffer(this.#limits.trailerBytesMax);
    const found = this.#trailers.find(bytes, at);
    if (found === undefined) return bytes.length;
    if ('fault' in found) {
      return found.fault === 'headers-too-large'
        ? 'the trailers are too large'
        : `trailers: ${found.message}`;
    }
    const fields = new Fields(found.text);
    const fault = fields.read(0, this.#limits.headerCountMax, found.bytes, found.start);
    if (fault !== undefined) return `trailers: ${fault.message}`;
    // RFC 9110, section 6.5.1: nothing that frames, routes or names the sender may come after the body.
    for (let index = 0; index < fields.count; index++) if (fields.id(index) !== 0) fields.drop(index);
    this.#end(fields.kept());
    // What was held came before these bytes, so the position counts from their end.
    return bytes.length - (found.bytes.length - found.next);
  }

  #end(trailers: string): void {
    this.#flush();
    this.done = true;
    this.#sink.onBodyEnd(trailers);
  }
}

function slice(bytes: Buffer, from: number, to: number): Buffer {
  return from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to);
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
