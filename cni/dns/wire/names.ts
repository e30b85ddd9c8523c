const LABEL_BYTES_MAX = 63;
const NAME_BYTES_MAX = 255;
const DOT = 0x2e;

export interface ReadName {
  /** Lower case, without the last dot; the root is ''. A dot or backslash inside a label is escaped, so that it never equals a name of the cluster. */
  readonly text: string;
  /** Offset behind the name. */
  readonly end: number;
}

/** A name without pointers, as questions have it (RFC 1035 section 3.1); undefined where it is malformed. */
export function readPlainName(bytes: Buffer, start: number): ReadName | undefined {
  let offset = start;
  let text = '';
  for (;;) {
    const length = bytes[offset];
    if (length === undefined || length > LABEL_BYTES_MAX) return undefined;
    offset++;
    if (length === 0) return { text, end: offset };
    const end = offset + length;
    if (end >= bytes.length || end - start >= NAME_BYTES_MAX) return undefined;
    if (text !== '') text += '.';
    for (; offset < end; offset++) {
      const byte = bytes[offset] ?? 0;
      if (byte === DOT || byte === 0x5c) text += '\\';
      text += String.fromCharCode(byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte);
    }
  }
}

/** The offset behind a name that may end in a pointer; undefined where it is malformed. Pointers aren't followed. */
export function skipName(bytes: Buffer, start: number): number | undefined {
  let offset = start;
  while (offset - start < NAME_BYTES_MAX) {
    const length = bytes[offset];
    if (length === undefined) return undefined;
    if (length === 0) return offset + 1;
    if (length >= 0xc0) return offset + 2 <= bytes.length ? offset + 2 : undefined;
    if (length > LABEL_BYTES_MAX) return undefined;
    offset += 1 + length;
  }
  return undefined;
}

/** ASCII letters in lower case, every other byte as it is (RFC 4343): two names are equal where these are. */
export function foldedBytes(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

const PRINTABLE_LABEL = /^[\x21-\x2d\x2f-\x5b\x5d-\x7e]{1,63}$/;

/** Whether a name can be written by its text: labels of printable ASCII of at most 63 bytes, 255 in all. */
export function isWritableName(text: string): boolean {
  if (text.length > NAME_BYTES_MAX - 2) return false;
  return text === '' || text.split('.').every((label) => PRINTABLE_LABEL.test(label));
}
