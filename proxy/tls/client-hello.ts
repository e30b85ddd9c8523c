import { ALPN } from '../../common/contracts.ts';

export type HelloVerdict =
  /** More is needed: not worth another look before there are this many bytes. */
  | number
  /** A mesh client: its ALPN offer has the marker. */
  | 'mesh'
  /** Somebody's own TLS. */
  | 'foreign'
  /** Not a ClientHello. */
  | 'invalid';

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const ALPN_EXTENSION = 16;
const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_HEADER_BYTES = 4;
const RECORD_BYTES_MAX = 16_384;

/**
 * Whose TLS a connection begins with. Reads the first flight of a client (RFC 8446, sections 4.1.2 and 5.1), also one
 * that is spread over several records; every length is checked against what encloses it.
 */
export function readClientHello(bytes: Buffer): HelloVerdict {
  const gathered = handshakeBytes(bytes);
  if (!Buffer.isBuffer(gathered)) return gathered;
  const length = gathered.readUIntBE(1, 3);
  const body = gathered.subarray(4, 4 + length);
  const extensions = findExtensions(body);
  if (extensions === undefined) return 'invalid';
  return alpnHasMarker(extensions);
}

/** The whole ClientHello message out of its records; a number where it isn't whole, as in `HelloVerdict`. */
function handshakeBytes(bytes: Buffer): Buffer | number | 'invalid' {
  const parts: Buffer[] = [];
  let gathered = 0;
  let needed = HANDSHAKE_HEADER_BYTES;
  let at = 0;
  while (gathered < needed) {
    if (bytes.length >= at + 1 && bytes[at] !== HANDSHAKE_RECORD) return 'invalid';
    if (bytes.length >= at + 2 && bytes[at + 1] !== 3) return 'invalid';
    if (bytes.length < at + RECORD_HEADER_BYTES) return at + RECORD_HEADER_BYTES + needed - gathered;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > RECORD_BYTES_MAX) return 'invalid';
    at += RECORD_HEADER_BYTES;
    const part = bytes.subarray(at, at + length);
    if (gathered === 0 && part.length > 0 && part[0] !== CLIENT_HELLO) return 'invalid';
    parts.push(part);
    gathered += part.length;
    if (gathered >= HANDSHAKE_HEADER_BYTES && needed === HANDSHAKE_HEADER_BYTES)
      needed += Buffer.concat(parts).readUIntBE(1, 3);
    if (part.length < length && gathered < needed)
      return bytes.length + Math.min(length - part.length, needed - gathered);
    at += length;
  }
  return parts.length === 1 ? (parts[0] ?? bytes) : Buffer.concat(parts);
}

/** The extensions of a ClientHello body; an empty block where it has none. */
function findExtensions(body: Buffer): Buffer | undefined {
  let at = 2 + 32;
  const sessionLength = body[at];
  if (sessionLength === undefined) return undefined;
  at += 1 + sessionLength;
  if (at + 2 > body.length) return undefined;
  at += 2 + body.readUInt16BE(at);
  const compressionLength = body[at];
  if (compressionLength === undefined) return undefined;
  at += 1 + compressionLength;
  if (at === body.length) return body.subarray(at);
  if (at + 2 > body.length) return undefined;
  const length = body.readUInt16BE(at);
  return at + 2 + length === body.length ? body.subarray(at + 2) : undefined;
}

/** RFC 7301, section 3.1. */
function alpnHasMarker(extensions: Buffer): HelloVerdict {
  let at = 0;
  while (at < extensions.length) {
    if (at + 4 > extensions.length) return 'invalid';
    const type = extensions.readUInt16BE(at);
    const length = extensions.readUInt16BE(at + 2);
    const end = at + 4 + length;
    if (end > extensions.length) return 'invalid';
    if (type === ALPN_EXTENSION) return listHasMarker(extensions.subarray(at + 4, end));
    at = end;
  }
  return 'foreign';
}

function listHasMarker(list: Buffer): HelloVerdict {
  if (list.length < 2 || list.readUInt16BE(0) !== list.length - 2) return 'invalid';
  let at = 2;
  while (at < list.length) {
    const end = at + 1 + (list[at] ?? 0);
    if (end > list.length || end === at + 1) return 'invalid';
    if (list.toString('latin1', at + 1, end) === ALPN.marker) return 'mesh';
    at = end;
  }
  return 'foreign';
}
