import { TOKEN } from '../codec/fields.ts';

/** What a client's first bytes are. `http2` with prior knowledge and `tls` are carried as they are. */
export type Detected = 'http1' | 'http2' | 'tls' | 'opaque' | 'silent';

const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const TLS_HANDSHAKE = 22;
const METHOD_CHARS_MAX = 32;
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'PATCH', 'CONNECT'],
]);

/**
 * Tells protocols apart by the first bytes; undefined where more are needed. HTTP/1 is told by a whole request line, since
 * many line protocols (SMTP, Redis inline commands) begin with a word and a space as well.
 */
export function detect(bytes: Buffer): Detected | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === TLS_HANDSHAKE) {
    if (bytes.length < 3) return undefined;
    return bytes[1] === 3 && (bytes[2] ?? 0xff) <= 4 ? 'tls' : 'opaque';
  }
  const compared = Math.min(bytes.length, HTTP2_PREFACE.length);
  if (bytes.compare(HTTP2_PREFACE, 0, compared, 0, compared) === 0) {
    return compared === HTTP2_PREFACE.length ? 'http2' : undefined;
  }
  return requestLine(bytes);
}

function requestLine(bytes: Buffer): Detected | undefined {
  let at = 0;
  while (at < bytes.length && TOKEN[bytes[at] ?? 0] === 1) at++;
  if (at > METHOD_CHARS_MAX) return 'opaque';
  if (at === bytes.length) return undefined;
  if (at === 0 || bytes[at] !== 0x20) return 'opaque';
  const lineEnd = bytes.indexOf(0x0a, at);
  if (lineEnd < 0) return undefined;
  const line = bytes.toString('latin1', at, lineEnd).trimEnd();
  return line.includes(' HTTP/1.') ? 'http1' : 'opaque';
}

/** What a request line that is longer than the time or room to look at it is taken for. */
export function detectUndecided(bytes: Buffer): Detected {
  if (bytes.length === 0) return 'silent';
  const space = bytes.indexOf(0x20);
  if (space < 1 || space > METHOD_CHARS_MAX) return 'opaque';
  return KNOWN_METHODS.has(bytes.toString('latin1', 0, space)) ? 'http1' : 'opaque';
}
