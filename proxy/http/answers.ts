import type { MeshFailure } from '../../common/errors.ts';
import { statusOfReason } from '../../common/reasons.ts';
import type { HeadFault } from '../codec/fields.ts';

const PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
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

export interface AnswerOptions {
  readonly status: number;
  readonly reason: string;
  readonly message: string;
  readonly close: boolean;
  /** HEAD: the fields of the answer without its body. */
  readonly headOnly: boolean;
  /** An HTTP/1.0 client that asked to keep the connection. */
  readonly sayKeepAlive: boolean;
}

/** An answer that the mesh makes itself: what happened and what to do, in plain text. */
export function answerText(options: AnswerOptions): string {
  const body = `${options.reason}: ${asLatin1(options.message)}\n`;
  const connection = options.close
    ? 'connection: close\r\n'
    : options.sayKeepAlive
      ? 'connection: keep-alive\r\n'
      : '';
  return (
    `HTTP/1.1 ${options.status} ${PHRASES[options.status] ?? 'Answer'}\r\n` +
    `x-heddle-reason: ${options.reason}\r\ncontent-type: text/plain; charset=utf-8\r\n` +
    `content-length: ${body.length}\r\n${connection}\r\n${options.headOnly ? '' : body}`
  );
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
