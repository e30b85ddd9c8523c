import { badHead, FIELD, type Fields, type HeadFault } from './fields.ts';

/** How a body is delimited: a length in bytes, or one of these. */
export const CHUNKED = -1;
export const UNTIL_CLOSE = -2;
/** No framing field at all. */
export const ABSENT = -3;

/** More would not be exact in a number, and nobody sends it. */
const LENGTH_DIGITS_MAX = 15;

/**
 * What the framing fields say (RFC 9112, section 6): a length, `CHUNKED` or `ABSENT`. Whatever two readers might
 * understand differently is a fault: both fields, a repeated length, a sign, a list, a coding after `chunked`.
 */
export function readFraming(fields: Fields, minorVersion: number): number | HeadFault {
  let length = ABSENT;
  let codings: string | undefined;
  for (let index = 0; index < fields.count; index++) {
    const id = fields.id(index);
    if (id === FIELD.CONTENT_LENGTH) {
      if (length !== ABSENT) return badHead('Content-Length is given twice');
      length = parseLength(fields.value(index));
      if (length < 0) return badHead('Content-Length is not a plain decimal number');
    } else if (id === FIELD.TRANSFER_ENCODING) {
      const value = fields.value(index);
      codings = codings === undefined ? value : `${codings},${value}`;
    }
  }
  if (codings === undefined) return length;
  if (length !== ABSENT) return badHead('both Transfer-Encoding and Content-Length are given');
  if (minorVersion === 0) return badHead('Transfer-Encoding in an HTTP/1.0 message');
  return checkCodings(codings);
}

function checkCodings(codings: string): number | HeadFault {
  const lower = codings.toLowerCase();
  if (lower === 'chunked') return CHUNKED;
  const list = lower.split(',').map((part) => part.trim());
  const chunkedAt = list.indexOf('chunked');
  if (chunkedAt !== list.length - 1 || list.includes('')) {
    return badHead('the Transfer-Encoding does not end in exactly one "chunked"');
  }
  return { fault: 'not-implemented', message: 'a transfer coding other than "chunked" is not supported' };
}

function parseLength(text: string): number {
  if (text.length === 0 || text.length > LENGTH_DIGITS_MAX) return -1;
  let value = 0;
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}
