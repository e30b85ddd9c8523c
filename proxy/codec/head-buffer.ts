import { badHead, type HeadFault } from './fields.ts';

const CR = 0x0d;
const LF = 0x0a;
const FIRST_BYTES = 1_024;

/** The text of a head with the line end of its last line, and the bytes that it was made of. */
export interface FoundHead {
  readonly text: string;
  readonly bytes: Buffer;
  /** Where in `bytes` the text begins, and where the byte after the head stands. */
  readonly start: number;
  readonly next: number;
}

/**
 * Finds message heads in a byte stream. A head inside one chunk costs one search and one decoding; one in pieces is put
 * together in a buffer that doubles, so that a byte at a time costs no more than linear work.
 */
export class HeadBuffer {
  readonly #bytesMax: number;
  #held: Buffer | undefined;
  #length = 0;
  #searched = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Whether a head has begun and isn't complete. */
  get partial(): boolean {
    return this.#length > 0;
  }

  /** Looks for a head in `bytes` from `at`; undefined where more is needed (and then all of it is held). */
  find(bytes: Buffer, at: number): FoundHead | HeadFault | undefined {
    let source = bytes;
    let from = at;
    let searchFrom = at;
    if (this.#length > 0) {
      this.#hold(bytes, at);
      source = (this.#held ?? bytes).subarray(0, this.#length);
      from = 0;
      searchFrom = Math.max(0, this.#searched - 3);
    }
    const end = findHeadEnd(source, searchFrom);
    if (end < 0) return this.#incomplete(source, from, searchFrom);
    if (end + 4 - from > this.#bytesMax) return this.#tooLarge(source, from);
    const found = {
      text: source.toString('latin1', from, end + 2),
      bytes: source,
      start: from,
      next: end + 4,
    };
    // The rest of a held buffer goes on as its own: the next head must not overwrite it.
    this.#held = undefined;
    this.#length = 0;
    this.#searched = 0;
    return found;
  }

  #incomplete(source: Buffer, from: number, searchFrom: number): HeadFault | undefined {
    if (source.length - from > this.#bytesMax) return this.#tooLarge(source, from);
    // An end of head that will never come is not waited for.
    const fault = bareLineEnd(source, Math.max(from, searchFrom));
    if (fault !== undefined) return fault;
    if (this.#length === 0) this.#hold(source, from);
    this.#searched = this.#length;
    return undefined;
  }

  #hold(bytes: Buffer, at: number): void {
    const added = bytes.length - at;
    const needed = this.#length + added;
    if (this.#held === undefined || needed > this.#held.length) {
      let size = FIRST_BYTES;
      while (size < needed) size *= 2;
      const grown = Buffer.allocUnsafeSlow(size);
      this.#held?.copy(grown, 0, 0, this.#length);
      this.#held = grown;
    }
    bytes.copy(this.#held, this.#length, at);
    this.#length = needed;
  }

  /** The same verdict in whatever pieces the head came: what breaks the rules before the limit counts first. */
  #tooLarge(source: Buffer, from: number): HeadFault {
    const fault = bareLineEnd(source.subarray(from, from + this.#bytesMax), 0);
    if (fault !== undefined) return fault;
    return { fault: 'headers-too-large', message: `the head is larger than ${this.#bytesMax} bytes` };
  }
}

/**
 * Where the empty line that ends a head begins (`CR LF CR LF`), or -1. It looks at every fourth byte: one that is neither
 * CR nor LF rules out all four places that it could have had.
 */
function findHeadEnd(bytes: Uint8Array, from: number): number {
  let at = from + 3;
  while (at < bytes.length) {
    const code = bytes[at] ?? 0;
    if (code === LF) {
      if (bytes[at - 1] === CR && bytes[at - 2] === LF && bytes[at - 3] === CR) return at - 3;
      at += 2;
    } else {
      at += code === CR ? 1 : 4;
    }
  }
  return -1;
}

/** RFC 9112, section 2.2: a line ends in CRLF; a lone CR or LF is what smuggling is made of. */
function bareLineEnd(bytes: Buffer, from: number): HeadFault | undefined {
  for (let at = bytes.indexOf(0x0a, from); at >= 0; at = bytes.indexOf(0x0a, at + 1)) {
    if (at === 0 || bytes[at - 1] !== 0x0d) return badHead('a line ends in a bare LF');
  }
  for (
    let at = bytes.indexOf(0x0d, from);
    at >= 0 && at + 1 < bytes.length;
    at = bytes.indexOf(0x0d, at + 1)
  ) {
    if (bytes[at + 1] !== 0x0a) return badHead('a bare CR');
  }
  return undefined;
}
