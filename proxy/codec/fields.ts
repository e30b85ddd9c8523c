/**
 * The fields (headers or trailers) of one message, kept as one text and the positions in it: nothing is copied until
 * somebody asks, and what is forwarded keeps its bytes, casing and order.
 */

/** Fields that the engine itself acts on. Everything else is `OTHER` and passes through. */
export const FIELD = {
  OTHER: 0,
  HOST: 1,
  CONNECTION: 2,
  CONTENT_LENGTH: 3,
  TRANSFER_ENCODING: 4,
  TE: 5,
  UPGRADE: 6,
  EXPECT: 7,
  TRAILER: 8,
  KEEP_ALIVE: 9,
  PROXY: 10,
  FORWARDED_FOR: 11,
  FORWARDED_PROTO: 12,
  CLIENT_CERT: 13,
  REQUEST_ID: 14,
  ATTEMPT: 15,
  REASON: 16,
  TRACEPARENT: 17,
  TRACESTATE: 18,
  HTTP2_SETTINGS: 19,
} as const;

const NAMES: readonly (readonly [string, number])[] = [
  ['host', FIELD.HOST],
  ['connection', FIELD.CONNECTION],
  ['content-length', FIELD.CONTENT_LENGTH],
  ['transfer-encoding', FIELD.TRANSFER_ENCODING],
  ['te', FIELD.TE],
  ['upgrade', FIELD.UPGRADE],
  ['expect', FIELD.EXPECT],
  ['trailer', FIELD.TRAILER],
  ['keep-alive', FIELD.KEEP_ALIVE],
  ['proxy-connection', FIELD.PROXY],
  ['proxy-authorization', FIELD.PROXY],
  ['proxy-authenticate', FIELD.PROXY],
  ['proxy-authentication-info', FIELD.PROXY],
  ['x-forwarded-for', FIELD.FORWARDED_FOR],
  ['x-forwarded-proto', FIELD.FORWARDED_PROTO],
  ['x-forwarded-client-cert', FIELD.CLIENT_CERT],
  ['x-request-id', FIELD.REQUEST_ID],
  ['x-heddle-attempt', FIELD.ATTEMPT],
  ['x-heddle-reason', FIELD.REASON],
  ['traceparent', FIELD.TRACEPARENT],
  ['tracestate', FIELD.TRACESTATE],
  ['http2-settings', FIELD.HTTP2_SETTINGS],
];

/** What the mesh alone tells apps: a name that CGI, WSGI and the like can't tell from one of these is no other name. */
const TOLD_BY_THE_MESH: ReadonlySet<number> = new Set([
  ...[FIELD.FORWARDED_FOR, FIELD.FORWARDED_PROTO, FIELD.CLIENT_CERT, FIELD.ATTEMPT, FIELD.REASON],
]);

interface KnownName {
  readonly lower: string;
  readonly first: number;
  readonly id: number;
  /** Whether `_` passes for `-`. */
  readonly loose: boolean;
}

/** By length of the name, so that most fields are told apart by one look. */
const BY_LENGTH: (KnownName[] | undefined)[] = [];
for (const [lower, id] of NAMES) {
  const known = { lower, first: lower.charCodeAt(0), id, loose: TOLD_BY_THE_MESH.has(id) };
  BY_LENGTH[lower.length] = [...(BY_LENGTH[lower.length] ?? []), known];
}

/** RFC 9110, section 5.6.2: `tchar`. */
export const TOKEN = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TOKEN[char.charCodeAt(0)] = 1;
}
/** RFC 9110, section 5.5: `field-vchar`, space and tab. */
export const VALUE = new Uint8Array(256);
for (let code = 0x20; code < 0x100; code++) VALUE[code] = code === 0x7f ? 0 : 1;
VALUE[9] = 1;

/** Whether the `lower.length` characters of `text` from `at` are `lower`, in any case. `lower` has letters, digits and `-` only. */
function sameName(text: string, at: number, lower: string): boolean {
  for (let index = 0; index < lower.length; index++) {
    if ((text.charCodeAt(at + index) | 0x20) !== lower.charCodeAt(index)) return false;
  }
  return true;
}

function sameLoosely(text: string, at: number, lower: string): boolean {
  return (
    text
      .slice(at, at + lower.length)
      .toLowerCase()
      .replaceAll('_', '-') === lower
  );
}

/** The `FIELD` of the name that fills `text` from `start` to `end`. */
export function fieldId(text: string, start: number, end: number): number {
  const candidates = BY_LENGTH[end - start];
  if (candidates === undefined) return FIELD.OTHER;
  const first = text.charCodeAt(start) | 0x20;
  for (const known of candidates) {
    if (known.first !== first) continue;
    if (sameName(text, start, known.lower) || (known.loose && sameLoosely(text, start, known.lower))) {
      return known.id;
    }
  }
  return FIELD.OTHER;
}

const WIDTH = 6;
/** Not forwarded. */
const DROPPED = 1;
/** Not forwarded, and not there for whoever asks: it was meant for the connection. */
const HIDDEN = 2;

/** What is wrong with a message head. */
export interface HeadFault {
  readonly fault: 'bad-request' | 'headers-too-large' | 'not-implemented';
  readonly message: string;
}

export function badHead(message: string): HeadFault {
  return { fault: 'bad-request', message };
}

/** Where positions are gathered while fields are read: copying them out once is cheaper than growing an array. */
const gathered: number[] = [];

export class Fields {
  readonly text: string;
  /** Per field: start of line, end of name, start and end of value, id, and `DROPPED` or `HIDDEN`. */
  #at: number[] = [];
  count = 0;

  constructor(text: string) {
    this.text = text;
  }

  /**
   * Reads field lines from `offset` to the end of the text, each ended by CRLF. Strict (RFC 9112, section 5): no folding,
   * no space before the colon, no control character, no bare CR or LF. `bytes` are those that the text was made of, its
   * first one at `origin`: asking them costs a third of asking the text.
   */
  read(offset: number, countMax: number, bytes: Uint8Array, origin: number): HeadFault | undefined {
    const { text } = this;
    const end = origin + text.length;
    let at = origin + offset;
    let used = 0;
    while (at < end) {
      const start = at;
      let code = bytes[at] ?? 0;
      while (TOKEN[code] === 1) code = bytes[++at] ?? 0;
      if (code !== 0x3a || at === start) return badHead(nameFault(bytes[start] ?? 0, code));
      const nameEnd = at++;
      code = bytes[at] ?? 0;
      while (code === 0x20 || code === 9) code = bytes[++at] ?? 0;
      const valueStart = at;
      while (VALUE[code] === 1) code = bytes[++at] ?? 0;
      if (code !== 0x0d || bytes[at + 1] !== 0x0a) {
        return badHead('a control character, bare CR or bare LF stands in a field value');
      }
      let valueEnd = at;
      while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1] ?? 0)) valueEnd--;
      at += 2;
      if (used >= countMax * WIDTH) {
        return { fault: 'headers-too-large', message: `more than ${countMax} fields` };
      }
      gathered[used] = start - origin;
      gathered[used + 1] = nameEnd - origin;
      gathered[used + 2] = valueStart - origin;
      gathered[used + 3] = valueEnd - origin;
      gathered[used + 4] = fieldId(text, start - origin, nameEnd - origin);
      gathered[used + 5] = 0;
      used += WIDTH;
    }
    this.#at = gathered.slice(0, used);
    this.count = used / WIDTH;
    return undefined;
  }

  id(index: number): number {
    return this.#at[index * WIDTH + 4] ?? 0;
  }

  name(index: number): string {
    return this.text.slice(this.#at[index * WIDTH], this.#at[index * WIDTH + 1]);
  }

  value(index: number): string {
    return this.text.slice(this.#at[index * WIDTH + 2], this.#at[index * WIDTH + 3]);
  }

  drop(index: number): void {
    this.#mark(index, DROPPED);
  }

  /** Takes every field whose name is `lower` out of the message. */
  hideName(lower: string): void {
    for (let index = 0; index < this.count; index++) {
      if (this.#named(index, lower)) this.#mark(index, HIDDEN);
    }
  }

  /** Drops every field whose name is `lower`. */
  dropName(lower: string): void {
    for (let index = 0; index < this.count; index++) {
      if (this.#named(index, lower)) this.drop(index);
    }
  }

  /** Drops every field whose id has its bit in `mask`. */
  dropMask(mask: number): void {
    const at = this.#at;
    for (let base = 0; base < at.length; base += WIDTH) {
      if (((mask >> (at[base + 4] ?? 0)) & 1) === 1) at[base + 5] = (at[base + 5] ?? 0) | DROPPED;
    }
  }

  /** The value of a field by lower-case name, several joined by `, `; undefined where absent. */
  get(lower: string): string | undefined {
    let found: string | undefined;
    for (let index = 0; index < this.count; index++) {
      if (!this.#named(index, lower) || this.#hidden(index)) continue;
      found = found === undefined ? this.value(index) : `${found}, ${this.value(index)}`;
    }
    return found;
  }

  /** The field lines that weren't dropped, as they came, in as few pieces as possible. */
  kept(): string {
    const at = this.#at;
    let out = '';
    let runStart = -1;
    for (let base = 0; base < at.length; base += WIDTH) {
      if (at[base + 5] !== 0) {
        if (runStart >= 0) out += this.text.slice(runStart, at[base]);
        runStart = -1;
      } else if (runStart < 0) {
        runStart = at[base] ?? 0;
      }
    }
    return runStart >= 0 ? out + this.text.slice(runStart) : out;
  }

  #mark(index: number, how: number): void {
    const at = index * WIDTH + 5;
    this.#at[at] = (this.#at[at] ?? 0) | how;
  }

  #hidden(index: number): boolean {
    return ((this.#at[index * WIDTH + 5] ?? 0) & HIDDEN) !== 0;
  }

  #named(index: number, lower: string): boolean {
    const start = this.#at[index * WIDTH] ?? 0;
    const nameEnd = this.#at[index * WIDTH + 1] ?? 0;
    if (nameEnd - start !== lower.length) return false;
    // `sameName` folds by setting a bit, which is exact for letters, digits and `-`; other token characters are compared in full.
    return sameName(this.text, start, lower) || this.text.slice(start, nameEnd).toLowerCase() === lower;
  }
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 9;
}

function nameFault(first: number, code: number): string {
  if (isBlank(first)) return 'a folded field line (obs-fold)';
  if (isBlank(code)) return 'white space in a field name or before its colon';
  return 'a field name with an invalid character, or a field line without a colon';
}

/** Calls `each` with every lower-case element of a comma-separated list; empty elements are skipped. */
export function eachToken(list: string, each: (token: string) => void): void {
  for (const part of list.split(',')) {
    const token = part.trim().toLowerCase();
    if (token !== '') each(token);
  }
}
