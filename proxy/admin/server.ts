import http, {
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { Callers } from '../../common/callers.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { type PageAnswer, type PageHandler, text } from './answer.ts';

/** Bounds of each of the sidecar's own servers: they serve a few tools, and must never cost the data path much. */
export const ADMIN_LIMITS = {
  /** Of all callers together; one beyond that costs who holds the most of them his longest idle one. */
  connectionsMax: 64,
  headBytesMax: 16 * 1024,
  urlBytesMax: 2 * 1024,
  /** From the first byte of a request to its last, and for an idle connection. */
  requestMs: 10_000,
  requestsPerConnectionMax: 1_000,
} as const;

export interface ListenPoint {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

export interface AdminServerOptions extends ListenPoint {
  /** What the server is for, as a message names it. */
  readonly name: string;
  readonly handle: PageHandler;
  /** Why a request is refused before it is looked at further, or undefined. */
  readonly guard?: (request: IncomingMessage) => PageAnswer | undefined;
  /** Makes the server, where it isn't plain HTTP. */
  readonly create?: (settings: http.ServerOptions, listener: RequestListener) => Server;
  readonly log: Logger;
}

export interface AdminServer {
  readonly port: number;
  close(): Promise<void>;
}

const SETTINGS: http.ServerOptions = {
  maxHeaderSize: ADMIN_LIMITS.headBytesMax,
  requestTimeout: ADMIN_LIMITS.requestMs,
  headersTimeout: ADMIN_LIMITS.requestMs,
  keepAliveTimeout: ADMIN_LIMITS.requestMs,
  connectionsCheckingInterval: 1_000,
};

/** Serves pages. Rejects with `HeddleError` (`listen`) where the address can't be had. */
export async function serveAdmin(options: AdminServerOptions): Promise<AdminServer> {
  const { host, port, name, log, create = http.createServer } = options;
  const callers = new Callers(ADMIN_LIMITS.connectionsMax);
  const server = create(SETTINGS, (request, response) => {
    response.once('close', callers.begin(request.socket));
    answer(options, request).then(
      (page) => send(request, response, page),
      (thrown: unknown) => {
        log.error('an admin page failed', { page: request.url?.slice(0, 100), error: messageOf(thrown) });
        send(request, response, text(500, 'internal error, see the log'));
      },
    );
  });
  server.on('connection', (socket: Socket) => callers.open(socket));
  server.on('secureConnection', (socket: Socket) => callers.secured(socket));
  server.maxRequestsPerSocket = ADMIN_LIMITS.requestsPerConnectionMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new HeddleError('listen', `${name} can't listen on ${host}:${port}: ${error.message}`)),
    );
    server.listen({ host, port }, () => resolve());
  });
  const bound = server.address();
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(options: AdminServerOptions, request: IncomingMessage): Promise<PageAnswer> {
  const refused = options.guard?.(request);
  if (refused !== undefined) return refused;
  if (Number(request.headers['content-length'] ?? 0) > 0 || 'transfer-encoding' in request.headers) {
    return { ...text(413, 'requests have no body here'), headers: { connection: 'close' } };
  }
  const target = request.url ?? '';
  if (target.length > ADMIN_LIMITS.urlBytesMax) return text(414, 'the address is too long');
  if (!target.startsWith('/')) return text(400, 'the request target must be a path');
  const mark = target.indexOf('?');
  return options.handle({
    method: request.method ?? '',
    path: mark < 0 ? target : target.slice(0, mark),
    query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
  });
}

function send(request: IncomingMessage, response: ServerResponse, page: PageAnswer): void {
  if (page.afterwards !== undefined) response.once('close', page.afterwards);
  response.writeHead(page.status, {
    'content-type': page.type,
    'content-length': Buffer.byteLength(page.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...page.headers,
  });
  response.end(request.method === 'HEAD' ? undefined : page.body);
}
