import type { MeshFailure } from '../../common/errors.ts';
import { statusOfReason } from '../../common/reasons.ts';
import type { RedirectAnswer } from '../../model/decision-types.ts';
import type { HeaderEdit } from '../../model/snapshot.ts';
import { Fields, type HeadFault } from '../codec/fields.ts';
import { editedFields } from './heads.ts';

const PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  408: 'Request Timeout',
  413: 'Content Too Large',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** What an answer says of its connection. */
export interface ConnectionWords {
  readonly close: boolean;
  /** An HTTP/1.0 client that asked to keep the connection. */
  readonly sayKeepAlive: boolean;
}

export interface AnswerOptions extends ConnectionWords {
  readonly status: number;
  readonly reason: string;
  readonly message: string;
  /** HEAD: the fields of the answer without its body. */
  readonly headOnly: boolean;
}

/** An answer that the mesh makes itself: what happened and what to do, in plain text. */
export function answerText(options: AnswerOptions): string {
  const body = `${options.reason}: ${asLatin1(options.message)}\n`;
  return (
    statusLine(options.status) +
    `x-heddle-reason: ${options.reason}\r\ncontent-type: text/plain; charset=utf-8\r\n` +
    `content-length: ${body.length}\r\n${connectionLine(options)}\r\n${options.headOnly ? '' : body}`
  );
}

/**
 * A rule's redirect. No failure of the mesh, so without `x-heddle-reason`; the rule's edits of responses apply, to Location
 * too, as in Envoy.
 */
export function redirectText({ status, location, rule }: RedirectAnswer, words: ConnectionWords): string {
  const line = `location: ${location}\r\n`;
  const fields = rule.responseHeaders === undefined ? line : edited(line, rule.responseHeaders);
  return `${statusLine(status)}${fields}content-length: 0\r\n${connectionLine(words)}\r\n`;
}

function edited(line: string, edit: HeaderEdit): string {
  const fields = new Fields(line);
  fields.read(0, 1, Buffer.from(line, 'latin1'), 0);
  return editedFields(fields, [edit]);
}

function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${PHRASES[status] ?? 'Answer'}\r\n`;
}

function connectionLine({ close, sayKeepAlive }: ConnectionWords): string {
  if (close) return 'connection: close\r\n';
  return sayKeepAlive ? 'connection: keep-alive\r\n' : '';
}

/** The status for a broken request. */
export function faultStatus(fault: HeadFault): number {
  if (fault.fault === 'not-implemented') return 501;
  return statusOfReason(fault.fault);
}

/** Answers a request that can't be read; the connection ends with it. */
export function faultAnswer(fault: HeadFault): string {
  const reason = fault.fault === 'headers-too-large' ? 'headers-too-large' : 'bad-request';
  return closingAnswer(faultStatus(fault), reason, fault.message);
}

export function timeoutAnswer(): string {
  return closingAnswer(408, 'bad-request', 'the request head did not arrive in time');
}

function closingAnswer(status: number, reason: string, message: string): string {
  return answerText({ status, reason, message, close: true, headOnly: false, sayKeepAlive: false });
}

export function failureOfFault(fault: HeadFault): MeshFailure {
  return {
    code: fault.fault === 'headers-too-large' ? 'headers-too-large' : 'bad-request',
    source: 'downstream',
    retrySafety: 'never',
    message: fault.message,
  };
}

/** Messages may quote what a client sent; a body of one byte a character stays countable and harmless. */
function asLatin1(text: string): string {
  let out = '';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    out += code >= 0x20 && code < 0x7f ? char : '?';
  }
  return out;
}
