import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createProxyServer, type ProxyServer } from 'http-proxy-3';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { SidecarAdmin } from '../sidecar-admin.ts';
import { HttpError, SECURITY_HEADERS, send } from './http.ts';

/** Pages of a sidecar's read-only admin that are passed on. Nothing else is, whatever a sidecar may serve. */
export const SIDECAR_PAGES = ['config', 'clusters', 'certs', 'breakers', 'stats', 'logging'] as const;

export const PROXY_PAGE_LIMITS = {
  /** Without a byte from the sidecar: its connection, its head, between two parts of its answer. */
  silenceMs: 5_000,
  /** Of one page, from the request to its last byte. */
  pageMs: 30_000,
  /** Of one page, streamed: nothing of it is kept. */
  pageBytesMax: 64 * 1024 * 1024,
  /** Pages on their way at once. */
  pagesMax: 16,
} as const;

/** RFC 1123: a namespace is a label, a pod's name may have dots. */
const PATH =
  /^\/proxies\/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)\/([a-z]+)$/;

export interface ProxyPage {
  readonly namespace: string;
  readonly pod: string;
  readonly page: (typeof SIDECAR_PAGES)[number];
}

/** Decides whether a request may have a page: throws HttpError where not. */
export type PageAccess = (request: IncomingMessage, page: ProxyPage) => Promise<void>;

export interface ProxyPagesOptions {
  /** Where the sidecar of a pod (`namespace/name`) answers; undefined where the mesh has none. */
  readonly sidecar: (pod: string) => SidecarAdmin | undefined;
  readonly access: PageAccess;
  readonly log: Logger;
  /** For tests; see PROXY_PAGE_LIMITS. */
  readonly silenceMs?: number;
}

export interface ProxyPages {
  /** Answers `/proxies/NAMESPACE/POD/PAGE`. Throws HttpError for what is not passed on. */
  answer(request: IncomingMessage, response: ServerResponse, pathname: string): Promise<void>;
  close(): void;
}

/** Which page a path means. Throws HttpError 404. */
function parseProxyPage(pathname: string): ProxyPage {
  const [, namespace, pod, name] = PATH.exec(pathname) ?? [];
  const page = SIDECAR_PAGES.find((one) => one === name);
  if (namespace === undefined || pod === undefined || page === undefined)
    throw new HttpError(
      404,
      `sidecars have these pages: /proxies/NAMESPACE/POD/(${SIDECAR_PAGES.join('|')})`,
    );
  return { namespace, pod, page };
}

/**
 * Passes pages of sidecars' read-only admin on, over mTLS with the control plane's certificate. The request that a sidecar
 * gets is made here: of the client's nothing goes on but the page's name.
 */
export function proxyPages(options: ProxyPagesOptions): ProxyPages {
  const { log, silenceMs = PROXY_PAGE_LIMITS.silenceMs } = options;
  const proxy = createProxyServer({
    // Passed on by ourselves: the sidecar is somebody's pod, and its headers stay with it.
    ...{ selfHandleResponse: true, ignorePath: true, secure: true, proxyTimeout: silenceMs, method: 'GET' },
  });
  const waiting: Waiting = new WeakMap();
  proxy.on('proxyRes', (answer, request) => waiting.get(request)?.(answer));
  let open = 0;
  return {
    async answer(request, response, pathname) {
      const wanted = parseProxyPage(pathname);
      refuseBody(request);
      const name = `${wanted.namespace}/${wanted.pod}`;
      if (open >= PROXY_PAGE_LIMITS.pagesMax)
        throw new HttpError(503, `${PROXY_PAGE_LIMITS.pagesMax} pages are being fetched already: ask again`);
      open++;
      try {
        await options.access(request, wanted);
        const sidecar = options.sidecar(name);
        if (sidecar === undefined) throw new HttpError(404, `the mesh knows no sidecar of pod ${name}`);
        await passOn({ proxy, waiting, request, response, sidecar, page: wanted.page, silenceMs });
      } catch (thrown) {
        if (thrown instanceof HttpError) throw thrown;
        const message = messageOf(thrown);
        log.debug('a sidecar page could not be passed on', { pod: name, page: wanted.page, error: message });
        if (response.headersSent) response.destroy();
        else throw new HttpError(502, `the sidecar of pod ${name} gives no answer: ${message}`);
      } finally {
        open--;
      }
    },
    close: () => proxy.close(),
  };
}

/** A body has no meaning here, and would be read as the next request where its length is told differently. */
function refuseBody({ headers }: IncomingMessage): void {
  const { 'content-length': length = '0', 'transfer-encoding': encoding, upgrade } = headers;
  if (encoding !== undefined || Number(length) !== 0)
    throw new HttpError(400, 'a page is asked for without a body');
  if (upgrade !== undefined) throw new HttpError(400, 'a page is asked for without an upgrade');
}

/** What takes the sidecar's answer to a request. */
type Waiting = WeakMap<IncomingMessage, (answer: IncomingMessage) => void>;

interface Passing {
  readonly proxy: ProxyServer;
  readonly waiting: Waiting;
  readonly silenceMs: number;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly sidecar: SidecarAdmin;
  readonly page: ProxyPage['page'];
}

/** Settles once the page is out. Rejects where the sidecar gives none, or breaks off. */
function passOn({ proxy, waiting, request, response, sidecar, page, silenceMs }: Passing): Promise<void> {
  const { tls, ...to } = sidecar;
  const { host, port } = to;
  const head = { accept: 'application/json', host: `${isIPv6(host) ? `[${host}]` : host}:${port}` };
  // Nothing of the client's head goes on: neither credentials nor what speaks of connections and lengths.
  request.headers = {};
  const done = Promise.withResolvers<void>();
  waiting.set(request, (answer) => relay(answer, request, response).then(done.resolve, done.reject));
  response.once('close', () => {
    if (!response.writableFinished) done.reject(new Error('the client went away'));
  });
  const target = { ...to, protocol: 'https:', pathname: `/${page}` };
  // The proxy makes its request's options of these.
  const ssl = { ...tls, timeout: silenceMs, signal: AbortSignal.timeout(PROXY_PAGE_LIMITS.pageMs) };
  proxy.web(request, response, { target, ssl, headers: head, buffer: Readable.from([]) }, (thrown) =>
    done.reject(reasonOf(thrown)),
  );
  return done.promise.finally(() => waiting.delete(request));
}

function reasonOf(thrown: Error & { readonly code?: string }): Error {
  // What the proxy's own timeout looks like from outside.
  return thrown.code === 'ECONNRESET' ? new Error('it said nothing for too long, or broke off') : thrown;
}

async function relay(
  answer: IncomingMessage,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (answer.statusCode !== 200) {
    answer.destroy();
    throw new Error(`it answered ${answer.statusCode}`);
  }
  if (request.method === 'HEAD') {
    answer.destroy();
    send(request, response, 200, JSON_TYPE, '');
    return;
  }
  // A sidecar's words are data, never a page of this origin.
  response.writeHead(200, { ...SECURITY_HEADERS, 'content-type': JSON_TYPE, 'cache-control': 'no-store' });
  await pipeline(answer, bounded, response);
}

const JSON_TYPE = 'application/json; charset=utf-8';

async function* bounded(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.byteLength;
    if (bytes > PROXY_PAGE_LIMITS.pageBytesMax)
      throw new Error(`more than ${PROXY_PAGE_LIMITS.pageBytesMax} bytes`);
    yield chunk;
  }
}
