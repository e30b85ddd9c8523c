import { B3_HEADERS, HEADERS } from '../../common/contracts.ts';
import type { HeaderEdit } from '../../model/snapshot.ts';
import { FIELD, type Fields, fieldId } from '../codec/fields.ts';
import { ABSENT, CHUNKED, UNTIL_CLOSE } from '../codec/framing.ts';
import type { RequestHead } from '../codec/request-head.ts';
import { describesAbsentBody, type ResponseHead } from '../codec/response-head.ts';

/** The fields that the mesh itself writes on a request of one attempt. */
export interface RequestMarks {
  readonly traceparent: string;
  readonly tracestate: string | undefined;
  /** Undefined: leaves what came in. */
  readonly b3: readonly (readonly [name: string, value: string])[] | undefined;
  readonly requestId: string;
  /** `x-heddle-attempt`; undefined leaves it out. */
  readonly attempt: number | undefined;
  readonly forwardedFor: string | undefined;
  readonly forwardedProto: string | undefined;
  /** `x-forwarded-client-cert` of a verified peer. */
  readonly clientCert: string | undefined;
}

/** How a request goes on otherwise than it came. */
export interface RequestChanges {
  /** In the place of the target that came; undefined leaves it. */
  readonly target: string | undefined;
  /** The whole of Host, whatever edits say of it; undefined leaves it. */
  readonly authority: string | undefined;
  /** One after another. */
  readonly edits: readonly HeaderEdit[];
}

const bit = (id: number) => 1 << id;

/** Written anew on every request, so what came in is left out. */
const OWN_REQUEST_FIELDS =
  bit(FIELD.TRACEPARENT) |
  bit(FIELD.TRACESTATE) |
  bit(FIELD.REQUEST_ID) |
  bit(FIELD.ATTEMPT) |
  bit(FIELD.FORWARDED_FOR) |
  bit(FIELD.FORWARDED_PROTO) |
  bit(FIELD.CLIENT_CERT) |
  bit(FIELD.REASON);

/** Framing and the connection are the engine's own: no route rule edits them. */
const UNEDITABLE =
  bit(FIELD.CONNECTION) |
  bit(FIELD.CONTENT_LENGTH) |
  bit(FIELD.TRANSFER_ENCODING) |
  bit(FIELD.TE) |
  bit(FIELD.UPGRADE) |
  bit(FIELD.KEEP_ALIVE);

/**
 * The head that goes upstream: the client's fields as they came, without those of its connection (RFC 9110, section
 * 7.6.1), with framing written from what was understood and never copied.
 */
export function requestHeadText(
  head: RequestHead,
  marks: RequestMarks,
  changes: RequestChanges | undefined,
): string {
  const { fields } = head;
  fields.dropMask(OWN_REQUEST_FIELDS);
  if (marks.b3 !== undefined) for (const name of B3_HEADERS) fields.dropName(name);
  let text = `${head.method} ${changes?.target ?? head.target} HTTP/1.1\r\n`;
  const authority = changes?.authority;
  if (authority !== undefined) {
    fields.dropMask(bit(FIELD.HOST));
    text += `host: ${authority}\r\n`;
  } else if (head.form === 'absolute' || head.form === 'authority' || head.hostMissing) {
    fields.dropMask(bit(FIELD.HOST));
    if (changes === undefined || !changes.edits.some(setsHost)) text += `host: ${head.authority}\r\n`;
  }
  text +=
    changes === undefined ? fields.kept() : editedFields(fields, changes.edits, authority !== undefined);
  if (head.framing === CHUNKED) text += 'transfer-encoding: chunked\r\n';
  else if (head.framing !== ABSENT) text += `content-length: ${head.framing}\r\n`;
  if (head.upgrade !== undefined) text += `connection: upgrade\r\nupgrade: ${head.upgrade}\r\n`;
  else if (head.acceptsTrailers) text += 'connection: te\r\nte: trailers\r\n';
  return `${text}${marksText(marks)}\r\n\r\n`;
}

/** Ends the line before and begins one: a piece of text less for each line, of which every request has many. */
const nextLine = (name: string) => `\r\n${name}: `;
const TRACESTATE = nextLine('tracestate');
const REQUEST_ID = nextLine(HEADERS.requestId);
const ATTEMPT = nextLine(HEADERS.attempt);
const FORWARDED_FOR = nextLine(HEADERS.forwardedFor);
const FORWARDED_PROTO = nextLine(HEADERS.forwardedProto);
const CLIENT_CERT = nextLine(HEADERS.forwardedClientCert);

/** The mesh's own fields, without the end of the last line. */
function marksText(marks: RequestMarks): string {
  let text = `traceparent: ${marks.traceparent}`;
  if (marks.tracestate !== undefined) text += TRACESTATE + marks.tracestate;
  if (marks.b3 !== undefined) for (const [name, value] of marks.b3) text += nextLine(name) + value;
  text += REQUEST_ID + marks.requestId;
  if (marks.attempt !== undefined) text += ATTEMPT + marks.attempt;
  if (marks.forwardedFor !== undefined) text += FORWARDED_FOR + marks.forwardedFor;
  if (marks.forwardedProto !== undefined) text += FORWARDED_PROTO + marks.forwardedProto;
  if (marks.clientCert !== undefined) text += CLIENT_CERT + marks.clientCert;
  return text;
}

export interface ResponseShape {
  /** How the body goes to this client. */
  readonly framing: number;
  readonly text: string;
}

export interface ResponseContext {
  readonly method: string;
  readonly clientMinorVersion: number;
  /** The connection ends after this response. */
  readonly close: boolean;
  /** Whether `x-heddle-reason` may be believed: it comes from a verified sidecar. */
  readonly reasonTrusted: boolean;
  /** One after another; undefined for none. */
  readonly edits: readonly HeaderEdit[] | undefined;
}

/** The head that goes to the client. A body without a length is chunked for HTTP/1.1 and ends with the connection for 1.0. */
export function responseHeadText(head: ResponseHead, context: ResponseContext): ResponseShape {
  const { fields } = head;
  if (!context.reasonTrusted) fields.dropMask(bit(FIELD.REASON));
  let framing = head.framing;
  if (framing === UNTIL_CLOSE || framing === CHUNKED) {
    framing = context.clientMinorVersion === 1 ? CHUNKED : UNTIL_CLOSE;
  }
  let text = `HTTP/1.1 ${head.status} ${head.reason}\r\n`;
  text += context.edits === undefined ? fields.kept() : editedFields(fields, context.edits);
  text += framingText(head, framing, context.method);
  // RFC 9110, sections 15.2.2 and 15.5.22: what is switched to, and what would have to be.
  if (head.status === 101 || (head.status === 426 && head.upgrade !== undefined)) {
    text += `connection: upgrade\r\nupgrade: ${head.upgrade ?? ''}\r\n`;
  }
  if (head.status === 101) return { framing, text: `${text}\r\n` };
  if (context.close || framing === UNTIL_CLOSE) text += 'connection: close\r\n';
  else if (context.clientMinorVersion === 0) text += 'connection: keep-alive\r\n';
  return { framing, text: `${text}\r\n` };
}

function framingText(head: ResponseHead, framing: number, method: string): string {
  // RFC 9110, section 9.3.6: what follows is a tunnel.
  if (method === 'CONNECT' && head.status < 300) return '';
  if (describesAbsentBody(head, method)) {
    return `content-length: ${head.declared}\r\n`;
  }
  if (framing === CHUNKED) return 'transfer-encoding: chunked\r\n';
  if (framing > 0 || (framing === 0 && head.declared === 0 && head.status >= 200 && head.status !== 204)) {
    return `content-length: ${framing}\r\n`;
  }
  return '';
}

/** An interim response (RFC 9110, section 15.2) as it goes on to the client. */
export function interimHeadText(head: ResponseHead): string {
  head.fields.dropMask(bit(FIELD.REASON));
  return `HTTP/1.1 ${head.status} ${head.reason}\r\n${head.fields.kept()}\r\n`;
}

/** Whether Host is among the headers that an edit sets. */
export function setsHost(edit: HeaderEdit): boolean {
  return edit.set.some(([name]) => name.toLowerCase() === 'host');
}

/**
 * The fields as edits leave them, in lines. Gateway API, HTTPHeaderFilter: `set` replaces, `add` adds to what is there,
 * `remove` takes away. A later edit sees what an earlier one did. `keepHost`: Host is written already.
 */
export function editedFields(fields: Fields, edits: readonly HeaderEdit[], keepHost = false): string {
  let added: (readonly [name: string, value: string])[] = [];
  const takeAway = (lower: string) => {
    fields.dropName(lower);
    added = added.filter(([name]) => name.toLowerCase() !== lower);
  };
  for (const edit of edits) {
    for (const name of edit.remove) if (isEditable(name) && name !== 'host') takeAway(name);
    for (const line of edit.set) {
      const lower = line[0].toLowerCase();
      if (!isEditable(lower) || (keepHost && lower === 'host')) continue;
      takeAway(lower);
      added.push(line);
    }
    for (const line of edit.add) if (isEditable(line[0])) added.push(line);
  }
  let text = fields.kept();
  for (const [name, value] of added) text += `${name}: ${value}\r\n`;
  return text;
}

function isEditable(name: string): boolean {
  return ((UNEDITABLE >> fieldId(name, 0, name.length)) & 1) === 0;
}
