import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Credentials } from './credentials.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface ApiRequest {
  readonly method: Method;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Ends the request and its answer, also between two bytes of it. */
  readonly signal: AbortSignal;
}

export interface ApiResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Throws where the connection breaks or the request is ended. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** How requests reach an API server. */
export interface ApiTransport {
  /** Rejects with code `kubernetes-unreachable` where there is no answer. */
  send(request: ApiRequest): Promise<ApiResponse>;
  /** The server didn't know us: credentials are read anew before the next request. */
  renew(): void;
  close(): void;
}

/** Requests over HTTP/1.1 on connections that are kept; a watch has one for itself. */
export function httpTransport(credentials: Credentials): ApiTransport {
  const base = new URL(credentials.server);
  const prefix = base.pathname.replace(/\/+$/, '');
  return {
    async send(request) {
      const access = await credentials.current();
      const options: RequestOptions = {
        ...{ method: request.method, path: `${prefix}${request.path}`, agent: access.agent },
        ...{ hostname: base.hostname.replace(/^\[|\]$/g, ''), port: base.port, signal: request.signal },
        headers: { ...request.headers, ...access.headers, ...lengthOf(request.body) },
      };
      const answer = await exchange(base, options, request);
      const { statusCode = 0, headers } = answer;
      return { status: statusCode, headers, body: answer };
    },
    renew: () => credentials.renew(),
    close: () => credentials.close(),
  };
}

function lengthOf(body: string | undefined): Record<string, string> {
  return body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
}

/** A kept connection may end in the moment in which it is used again: then a reading request is sent once more. */
function exchange(base: URL, options: RequestOptions, request: ApiRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const send = base.protocol === 'https:' ? httpsRequest : httpRequest;
    const outgoing = send(options, resolve);
    outgoing.on('error', (thrown: NodeJS.ErrnoException) => {
      const stale = outgoing.reusedSocket && thrown.code === 'ECONNRESET' && request.method === 'GET';
      if (stale && !request.signal.aborted) exchange(base, options, request).then(resolve, reject);
      else reject(unreachable(base, thrown));
    });
    outgoing.end(request.body);
  });
}

function unreachable(base: URL, thrown: unknown): HeddleError {
  const message = `the API server ${base.origin} can't be reached: ${messageOf(thrown)}`;
  return new HeddleError('kubernetes-unreachable', message, { cause: thrown });
}
