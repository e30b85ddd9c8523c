const CR = 0x0d;
const LF = 0x0a;

/** RFC 9112, section 2.2: empty lines before a request line are skipped, in whatever pieces they come. */
export class EmptyLines {
  #afterCr = false;

  /** Skips from `start`; returns the position of the request line or the end of `bytes`, or -1 at a bare CR. */
  skip(bytes: Buffer, start: number): number {
    let at = start;
    while (at < bytes.length) {
      if (this.#afterCr) {
        if (bytes[at] !== LF) return -1;
        this.#afterCr = false;
      } else if (bytes[at] === CR) {
        this.#afterCr = true;
      } else {
        return at;
      }
      at++;
    }
    return at;
  }
}
