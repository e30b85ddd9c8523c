import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { DropsView } from '../drops/feed.ts';
import { type MeshTraces, type MeshTracesOptions, meshTraces } from '../traces/mesh-traces.ts';
import type { TraceReader } from '../traces/reader.ts';
import type { ControlPlaneView } from '../view.ts';
import { findAsset } from './assets.ts';
import { EventStreams } from './events.ts';
import { explain, explainTrace, parseExplain } from './explain.ts';
import { heddleApi } from './heddle-api.ts';
import { DASHBOARD_LIMITS, HttpError, hostAllowed, readText, send, sendJson } from './http.ts';
import { jaegerApi, jaegerError } from './jaeger-api.ts';
import type { ProxyPages } from './proxy-pages.ts';

export interface DashboardOptions {
  readonly view: ControlPlaneView;
  /** Of this replica. */
  readonly traces: TraceReader;
  /** The other replicas, whose traces are shown as well; undefined: there can be none. */
  readonly siblings?: MeshTracesOptions['siblings'] | undefined;
  /** Undefined: this mesh has no pod network. */
  readonly drops?: DropsView | undefined;
  /** Pages of sidecars; undefined: there are none to be had. */
  readonly proxyPages?: ProxyPages | undefined;
  /** IP address to bind; a loopback one unless something guards the port. */
  readonly listen: string;
  /** 0: any free one. */
  readonly port: number;
  readonly log: Logger;
  readonly clock: Clock;
  /** Host names besides loopback ones that the page may be asked under. */
  readonly hosts?: readonly string[];
}

export interface Dashboard {
  readonly port: number;
  close(): Promise<void>;
}

/** What every request is answered from. */
type Served = Omit<DashboardOptions, 'traces'> & { readonly traces: MeshTraces };

const PAGES = /^\/(?:|traces(?:\/[0-9a-fA-F]{1,32})?|services|objects|sidecars|explain)$/;

async function handle(
  options: Served,
  events: EventStreams,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (!hostAllowed(request.headers.host, [options.listen, ...(options.hosts ?? [])])) {
    throw new HttpError(421, 'the dashboard is not served under this host name');
  }
  const target = request.url ?? '';
  if (!target.startsWith('/') || target.length > DASHBOARD_LIMITS.urlBytesMax) {
    throw new HttpError(400, 'the request target must be a path');
  }
  const base = new URL('http://dashboard');
  const url = new URL(`http://dashboard${target}`);
  if (url.host !== base.host) throw new HttpError(400, 'the request target must be a path');
  const nowMs = options.clock.wallMs();
  if (url.pathname === '/api/heddle/explain') {
    sendJson(request, response, 200, await answerExplain(options, request, url, nowMs));
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    throw new HttpError(405, 'this can only be read (GET, HEAD)');
  }
  if (url.pathname === '/api/heddle/events') {
    events.open(request, response);
    return;
  }
  if (url.pathname.startsWith('/proxies/') && options.proxyPages !== undefined) {
    await options.proxyPages.answer(request, response, url.pathname);
    return;
  }
  if (url.pathname.startsWith('/api/')) {
    const { view, traces, drops } = options;
    const body =
      (await heddleApi({ view, traces, drops }, url, nowMs)) ?? (await jaegerApi(traces, url, nowMs));
    if (body === undefined) throw new HttpError(404, 'no such API');
    sendJson(request, response, 200, body);
    return;
  }
  const asset = findAsset(PAGES.test(url.pathname) ? '/app/index.html' : url.pathname);
  if (asset === undefined) throw new HttpError(404, 'no such page');
  send(request, response, 200, asset.type, asset.body, { 'cache-control': 'no-cache' });
}

async function answerExplain(
  options: Served,
  request: IncomingMessage,
  url: URL,
  nowMs: number,
): Promise<object> {
  const trace = url.searchParams.get('trace');
  if (trace !== null && (request.method === 'GET' || request.method === 'POST')) {
    return explainTrace(options.view, options.traces, trace, nowMs);
  }
  if (request.method !== 'POST') throw new HttpError(405, 'explain takes POST, or GET with ?trace=');
  // Another origin's form can't send JSON without asking first, and is never allowed to.
  if (request.headers['content-type']?.startsWith('application/json') !== true) {
    throw new HttpError(415, 'content-type must be application/json');
  }
  return explain(options.view, parseExplain(await readText(request)), nowMs);
}

function refuse(log: Logger, request: IncomingMessage, response: ServerResponse, error: unknown): void {
  if (!(error instanceof HttpError)) log.error('the dashboard failed', { why: messageOf(error) });
  const status = error instanceof HttpError ? error.status : 500;
  const message = error instanceof HttpError ? error.message : 'internal error';
  const headers = error instanceof HttpError ? error.headers : {};
  if (response.headersSent) response.destroy();
  else if (status === 404 && isPersonAsking(request))
    send(request, response, status, 'text/html; charset=utf-8', NO_SUCH_PAGE);
  else sendJson(request, response, status, jaegerError(status, message), headers);
}

const NO_SUCH_PAGE = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>No such page · Heddle</title><link rel="icon" href="/app/icon.svg"><link rel="stylesheet" href="/app/style.css"></head>
<body><main id="main"><h1>There is no such page</h1><p><a href="/">To the overview</a></p></main></body></html>`;

/** A browser that was sent to an address, rather than a program that asks the API. */
function isPersonAsking(request: IncomingMessage): boolean {
  const path = request.url ?? '';
  return (
    !path.startsWith('/api/') &&
    !path.startsWith('/proxies/') &&
    request.headers.accept?.includes('text/html') === true
  );
}

/** Starts the dashboard: page, Jaeger's query API and Heddle's own. Rejects where the port can't be bound. */
export async function startDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { clock, siblings = () => [] } = options;
  const traces = meshTraces({ own: options.traces, siblings, clock });
  const served: Served = { ...options, traces };
  const events = new EventStreams(options.view, traces, options.drops, clock);
  const server = http.createServer({ requestTimeout: DASHBOARD_LIMITS.requestMs }, (request, response) => {
    handle(served, events, request, response).catch((error) => refuse(options.log, request, response, error));
  });
  server.maxConnections = DASHBOARD_LIMITS.connectionsMax;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port, options.listen, resolve);
    });
  } catch (error) {
    events.close();
    throw error;
  }
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      events.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
