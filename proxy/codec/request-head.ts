import type { RequestView } from '../../model/decision-types.ts';
import { type Authority, parseAuthority, parseHost } from './authority.ts';
import { readConnectionOptions } from './connection-options.ts';
import { badHead, eachToken, FIELD, Fields, type HeadFault, TOKEN } from './fields.ts';
import { ABSENT, CHUNKED, readFraming } from './framing.ts';
import type { FoundHead } from './head-buffer.ts';
import type { EngineLimits } from './limits.ts';

/** RFC 9112, section 3.2. */
export type TargetForm = 'origin' | 'absolute' | 'authority' | 'asterisk';

const METHOD_CHARS_MAX = 32;

/** The head of a request, checked. What `decide` reads of it, it reads through `RequestView`. */
export class RequestHead implements RequestView {
  readonly method: string;
  readonly fields: Fields;
  /** 0 or 1: HTTP/1.0 or HTTP/1.1. */
  readonly minorVersion: number;
  form: TargetForm = 'origin';
  path = '';
  query = '';
  /** The part of the target that goes upstream: path and query, `*`, or the authority of a CONNECT. */
  target = '';
  /** `Host`, or the authority of an absolute or authority target, which overrides it. */
  authority = '';
  sourceAddress: string | undefined;
  /** HTTP/1.0 only: the request named no host, and the next hop is told the one it is sent to. */
  hostMissing = false;
  /** Bytes of the body, or `CHUNKED`, or `ABSENT`. */
  framing: number = ABSENT;
  keepAlive: boolean;
  /** The protocol that the client asks to switch to. */
  upgrade: string | undefined;
  acceptsTrailers = false;
  incomingAttempt = 1;
  hostAuthority: Authority | undefined;
  /** Of an absolute or authority target. */
  targetAuthority: Authority | undefined;

  constructor(method: string, minorVersion: number, fields: Fields) {
    this.method = method;
    this.minorVersion = minorVersion;
    this.fields = fields;
    this.keepAlive = minorVersion === 1;
  }

  /** Host is that of an absolute target where there is one: the field has to be ignored (RFC 9112, section 3.2.2). */
  header(name: string): string | undefined {
    return this.form === 'absolute' && name === 'host' ? this.authority : this.fields.get(name);
  }

  get hasBody(): boolean {
    return this.framing === CHUNKED || this.framing > 0;
  }

  /** Host and port that the client means, `port` 80 unless it says otherwise (RFC 9110, section 4.2.1). */
  destination(): Authority | undefined {
    return this.targetAuthority ?? this.hostAuthority;
  }
}

/**
 * Reads a request head: request line and fields, each line with its CRLF, without the empty line. RFC 9112, sections 2 to
 * 6, with every liberty that the standard leaves a lenient reader refused.
 */
export function parseRequestHead(found: FoundHead, limits: EngineLimits): RequestHead | HeadFault {
  const { text, bytes, start } = found;
  const lineEnd = text.indexOf('\r\n');
  const methodEnd = text.indexOf(' ');
  if (methodEnd < 1 || methodEnd > METHOD_CHARS_MAX) return badHead('the request line has no valid method');
  for (let index = start; index < start + methodEnd; index++) {
    if (TOKEN[bytes[index] ?? 0] !== 1) return badHead('the method has an invalid character');
  }
  // Exactly ` HTTP/1.x` stands at the end of the line, so two positions delimit the target.
  const versionAt = lineEnd - 8;
  if (versionAt <= methodEnd + 1 || text.charCodeAt(versionAt - 1) !== 0x20) {
    return badHead('the request line is not "method target HTTP/1.1"');
  }
  const minorVersion = text.charCodeAt(lineEnd - 1) - 0x30;
  if (!text.startsWith('HTTP/1.', versionAt) || (minorVersion !== 0 && minorVersion !== 1)) {
    return badHead('the version is neither HTTP/1.1 nor HTTP/1.0');
  }
  const targetEnd = versionAt - 1;
  for (let index = start + methodEnd + 1; index < start + targetEnd; index++) {
    const code = bytes[index] ?? 0;
    if (code <= 0x20 || code === 0x7f || code === 0x23) {
      return badHead('the request target has white space, a control character or a fragment');
    }
  }
  const fields = new Fields(text);
  const fault = fields.read(lineEnd + 2, limits.headerCountMax, bytes, start);
  if (fault !== undefined) return fault;
  const head = new RequestHead(text.slice(0, methodEnd), minorVersion, fields);
  return readFields(head, limits) ?? readTarget(head, text.slice(methodEnd + 1, targetEnd)) ?? head;
}

function readFields(head: RequestHead, limits: EngineLimits): HeadFault | undefined {
  const { fields } = head;
  const framing = readFraming(fields, head.minorVersion);
  if (typeof framing !== 'number') return framing;
  head.framing = framing;
  let host: string | undefined;
  let upgrade: string | undefined;
  let connection: string | undefined;
  for (let index = 0; index < fields.count; index++) {
    switch (fields.id(index)) {
      case FIELD.OTHER:
      case FIELD.TRACEPARENT:
      case FIELD.TRACESTATE:
        break;
      case FIELD.HOST:
        if (host !== undefined) return badHead('Host is given twice');
        host = fields.value(index);
        break;
      case FIELD.CONNECTION: {
        const value = fields.value(index);
        connection = connection === undefined ? value : `${connection},${value}`;
        fields.drop(index);
        break;
      }
      case FIELD.EXPECT:
        // RFC 9110, section 10.1.1: of an HTTP/1.0 client it is ignored, and the next hop is spoken to as 1.1.
        if (head.minorVersion === 0) fields.drop(index);
        break;
      case FIELD.TE:
        eachToken(fields.value(index), (token) => {
          if (token === 'trailers') head.acceptsTrailers = true;
        });
        fields.drop(index);
        break;
      case FIELD.UPGRADE:
        upgrade = upgrade === undefined ? fields.value(index) : `${upgrade}, ${fields.value(index)}`;
        fields.drop(index);
        break;
      case FIELD.ATTEMPT:
        head.incomingAttempt = attemptNumber(fields.value(index));
        break;
      case FIELD.CONTENT_LENGTH:
      case FIELD.TRANSFER_ENCODING:
      case FIELD.KEEP_ALIVE:
      case FIELD.PROXY:
      case FIELD.HTTP2_SETTINGS:
        fields.drop(index);
        break;
      default:
        break;
    }
  }
  if (host === undefined && head.minorVersion === 1) return badHead('Host is missing');
  if (host !== undefined) {
    head.hostAuthority = parseHost(host);
    if (head.hostAuthority === undefined) return badHead('Host is not a valid host and port');
  }
  head.hostMissing = host === undefined;
  head.authority = host ?? '';
  if (connection === 'keep-alive') head.keepAlive = true;
  else if (connection !== undefined) return readConnection(head, connection, upgrade, limits);
  return undefined;
}

function readConnection(
  head: RequestHead,
  connection: string,
  upgrade: string | undefined,
  limits: EngineLimits,
): HeadFault | undefined {
  const options = readConnectionOptions(head.fields, connection, limits.connectionOptionsMax);
  if ('fault' in options) return options;
  head.keepAlive = !options.close && (head.minorVersion === 1 || options.keepAlive);
  // Cleartext HTTP/2 would be a second request language inside the first: the offer is declined by leaving it out.
  if (!options.upgrade || upgrade === undefined || head.minorVersion === 0 || head.hasBody) return undefined;
  if (!upgrade.toLowerCase().includes('h2c')) head.upgrade = upgrade;
  return undefined;
}

function readTarget(head: RequestHead, target: string): HeadFault | undefined {
  if (head.method === 'CONNECT') {
    const authority = parseAuthority(target, undefined);
    if (authority === undefined) return badHead('the target of CONNECT is not host:port');
    if (head.hasBody) return badHead('a CONNECT with a body');
    head.form = 'authority';
    head.target = target;
    head.authority = target;
    head.targetAuthority = authority;
    return undefined;
  }
  if (target === '*') {
    if (head.method !== 'OPTIONS') return badHead('the target "*" belongs to OPTIONS alone');
    head.form = 'asterisk';
    head.path = '*';
    head.target = '*';
    return undefined;
  }
  return target.charCodeAt(0) === 0x2f ? setPath(head, target) : readAbsolute(head, target);
}

function readAbsolute(head: RequestHead, target: string): HeadFault | undefined {
  if (target.slice(0, 7).toLowerCase() !== 'http://') {
    return badHead('the request target is neither a path nor an http:// URI');
  }
  let end = 7;
  while (end < target.length && target[end] !== '/' && target[end] !== '?') end++;
  const authorityText = target.slice(7, end);
  const authority = parseAuthority(authorityText, 80);
  if (authority === undefined) return badHead('the authority of the request target is invalid');
  head.form = 'absolute';
  head.authority = authorityText;
  head.targetAuthority = authority;
  const rest = target.slice(end);
  if (rest === '' && head.method === 'OPTIONS') {
    head.path = '*';
    head.target = '*';
    return undefined;
  }
  return setPath(head, rest.startsWith('/') ? rest : `/${rest}`);
}

function setPath(head: RequestHead, target: string): undefined {
  const mark = target.indexOf('?');
  head.target = target;
  head.path = mark < 0 ? target : target.slice(0, mark);
  head.query = mark < 0 ? '' : target.slice(mark + 1);
}

function attemptNumber(text: string): number {
  const number = Number(text);
  return Number.isInteger(number) && number >= 1 && number <= 1_000 ? number : 1;
}
