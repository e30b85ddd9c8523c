import { readConnectionOptions } from './connection-options.ts';
import { badHead, FIELD, Fields, type HeadFault, VALUE } from './fields.ts';
import { ABSENT, readFraming, UNTIL_CLOSE } from './framing.ts';
import type { FoundHead } from './head-buffer.ts';
import type { EngineLimits } from './limits.ts';

/** The head of a response, checked as strictly as a request's: an ambiguous one is never passed on. */
export class ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minorVersion: number;
  readonly fields: Fields;
  /** What the framing fields say: a length, `CHUNKED` or `ABSENT`. */
  declared: number = ABSENT;
  /** How many bytes follow: 0 for a response that has no body whatever its fields say. */
  framing: number = UNTIL_CLOSE;
  /** Whether the connection may carry another request. */
  keepAlive: boolean;
  upgrade: string | undefined;
  /** `timeout` of Keep-Alive, where the peer tells it. */
  idleHintMs: number | undefined;

  constructor(status: number, reason: string, minorVersion: number, fields: Fields) {
    this.status = status;
    this.reason = reason;
    this.minorVersion = minorVersion;
    this.fields = fields;
    this.keepAlive = minorVersion === 1;
  }

  get interim(): boolean {
    return this.status < 200 && this.status !== 101;
  }
}

/** Reads a response head to a request of `method`: status line and fields with their CRLFs, without the empty line. */
export function parseResponseHead(
  found: FoundHead,
  method: string,
  limits: EngineLimits,
): ResponseHead | HeadFault {
  const { text, bytes, start } = found;
  const lineEnd = text.indexOf('\r\n');
  const minorVersion = text.charCodeAt(7) - 0x30;
  if (!text.startsWith('HTTP/1.') || (minorVersion !== 0 && minorVersion !== 1)) {
    return badHead('the status line is not HTTP/1.x');
  }
  if (text.charCodeAt(8) !== 0x20 || lineEnd < 12) return badHead('the status line is malformed');
  const status = statusCode(text);
  if (status < 100 || (lineEnd > 12 && text.charCodeAt(12) !== 0x20)) {
    return badHead('the status is not three digits');
  }
  for (let index = start + 13; index < start + lineEnd; index++) {
    if (VALUE[bytes[index] ?? 0] !== 1) return badHead('a control character in the reason phrase');
  }
  const fields = new Fields(text);
  const fault = fields.read(lineEnd + 2, limits.headerCountMax, bytes, start);
  if (fault !== undefined) return fault;
  const head = new ResponseHead(status, lineEnd > 13 ? text.slice(13, lineEnd) : '', minorVersion, fields);
  return readFields(head, limits) ?? setFraming(head, method) ?? head;
}

function statusCode(text: string): number {
  let status = 0;
  for (let index = 9; index < 12; index++) {
    const digit = text.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    status = status * 10 + digit;
  }
  return status;
}

function readFields(head: ResponseHead, limits: EngineLimits): HeadFault | undefined {
  const { fields } = head;
  const declared = readFraming(fields, head.minorVersion);
  if (typeof declared !== 'number') return declared;
  head.declared = declared;
  let connection: string | undefined;
  let upgrade: string | undefined;
  for (let index = 0; index < fields.count; index++) {
    switch (fields.id(index)) {
      case FIELD.CONNECTION: {
        const value = fields.value(index);
        connection = connection === undefined ? value : `${connection},${value}`;
        fields.drop(index);
        break;
      }
      case FIELD.UPGRADE:
        upgrade = upgrade === undefined ? fields.value(index) : `${upgrade}, ${fields.value(index)}`;
        fields.drop(index);
        break;
      case FIELD.KEEP_ALIVE:
        head.idleHintMs = idleHint(fields.value(index));
        fields.drop(index);
        break;
      case FIELD.CONTENT_LENGTH:
      case FIELD.TRANSFER_ENCODING:
      case FIELD.TE:
      case FIELD.PROXY:
      case FIELD.HTTP2_SETTINGS:
        fields.drop(index);
        break;
      default:
        break;
    }
  }
  if (connection === 'keep-alive') head.keepAlive = true;
  else if (connection === 'close') head.keepAlive = false;
  else if (connection !== undefined) {
    const options = readConnectionOptions(fields, connection, limits.connectionOptionsMax);
    if ('fault' in options) return options;
    head.keepAlive = !options.close && (head.minorVersion === 1 || options.keepAlive);
    if (options.upgrade) head.upgrade = upgrade;
  }
  return undefined;
}

/** RFC 9112, section 6.3. */
function setFraming(head: ResponseHead, method: string): undefined {
  const { status, declared } = head;
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') head.framing = 0;
  else if (method === 'CONNECT' && status < 300) head.framing = 0;
  else head.framing = declared === ABSENT ? UNTIL_CLOSE : declared;
  if (head.framing === UNTIL_CLOSE) head.keepAlive = false;
}

/**
 * Whether the framing field that came in is passed on though no body follows: it describes the body that a GET would
 * have got (RFC 9110, section 8.6). A 204 or 1xx has none to describe.
 */
export function describesAbsentBody(head: ResponseHead, method: string): boolean {
  return head.declared >= 0 && (head.status === 304 || (method === 'HEAD' && head.status !== 204));
}

function idleHint(value: string): number | undefined {
  const at = value.toLowerCase().indexOf('timeout=');
  if (at < 0) return undefined;
  const seconds = Number.parseInt(value.slice(at + 8), 10);
  return Number.isSafeInteger(seconds) && seconds >= 0 ? seconds * 1_000 : undefined;
}
