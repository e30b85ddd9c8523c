import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { isLoopback } from '../../common/address.ts';
import { readBody } from '../http-body.ts';

/** Bounds of the dashboard's HTTP server. */
export const DASHBOARD_LIMITS = {
  bodyBytesMax: 256 * 1024,
  urlBytesMax: 8 * 1024,
  connectionsMax: 256,
  requestMs: 15_000,
  eventStreamsMax: 32,
  heartbeatMs: 15_000,
  /** Of one API answer. */
  tracesMax: 1_500,
} as const;

/** An answer that is not a success. `message` says what to do. */
export class HttpError extends Error {
  readonly status: number;
  /** Beside those that every answer has. */
  readonly headers: Readonly<Record<string, string>>;
  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

/**
 * Whether a `Host` is one the page is served under; a name of somebody else's choosing may be DNS rebinding. An address can't
 * be: where the page listens on all of the machine's (`0.0.0.0`, `::` among `allowed`), any is taken.
 */
export function hostAllowed(host: string | undefined, allowed: readonly string[]): boolean {
  if (host === undefined) return false;
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::\d{1,5})?$/.exec(host);
  const name = match?.[1]?.toLowerCase();
  if (name === undefined) return false;
  if (name === 'localhost' || name === '[::1]' || isLoopback(name)) return true;
  const everywhere = allowed.some((each) => each === '0.0.0.0' || each === '::');
  if (everywhere && isIP(name.replace(/^\[|\]$/g, '')) !== 0) return true;
  return allowed.some((each) => each.toLowerCase() === name);
}

/** The whole body as text; 413 beyond the limit. */
export async function readText(request: IncomingMessage): Promise<string> {
  const body = await readBody(request, DASHBOARD_LIMITS.bodyBytesMax);
  if (body === undefined)
    throw new HttpError(413, `a request may have ${DASHBOARD_LIMITS.bodyBytesMax} bytes`);
  return body.toString('utf8');
}

export function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    ...SECURITY_HEADERS,
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...(status === 413 ? { connection: 'close' } : {}),
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  send(request, response, status, 'application/json; charset=utf-8', JSON.stringify(body), headers);
}
