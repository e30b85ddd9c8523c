import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Clock } from '../../../common/clock.ts';
import { HeddleError, messageOf } from '../../../common/errors.ts';
import type { Logger } from '../../../common/log.ts';
import type { RepairReport } from '../../../common/pod-network.ts';
import { listenAlone } from '../own-socket.ts';
import { captureOf, endpointsOf, servicesOf, statusOf } from './answers.ts';
import { dropQuery } from './drop-filter.ts';
import { follow, selected } from './follower.ts';
import { policiesOf } from './policy.ts';
import { verdictOf } from './verdict.ts';
import type { AgentView } from './view.ts';

export interface AdminLimits {
  readonly connectionsMax: number;
  /** Readers of `/drops?follow=1`. */
  readonly followersMax: number;
  readonly requestMs: number;
  readonly headBytesMax: number;
  readonly urlBytesMax: number;
  /** At the agent's end: for those who read an answer still. */
  readonly endMs: number;
}

export const ADMIN_LIMITS: AdminLimits = {
  connectionsMax: 64,
  followersMax: 16,
  requestMs: 10_000,
  headBytesMax: 8 * 1024,
  urlBytesMax: 4 * 1024,
  endMs: 1_000,
};

export interface AdminOptions {
  /** Path of the Unix socket; for root alone. */
  readonly socket: string;
  readonly view: AgentView;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: AdminLimits;
  /** Told after an uninstall was answered: the agent ends, since it would set the node up again. */
  readonly shutdown?: (() => void) | undefined;
}

export interface AdminServer {
  close(): Promise<void>;
}

/** HTTP statuses of what an answer may fail with; anything else is the agent's own fault. */
const STATUS: Readonly<Record<string, number>> = {
  'bad-request': 400,
  'not-found': 404,
  method: 405,
  'pods-attached': 409,
  overload: 503,
  'not-ready': 503,
};

/**
 * Answers `heddle cni` and `heddle drops` in JSON over HTTP: GET /status, /endpoints, /services (each with `?kernel=1`), /policy,
 * /policy/verdict, /capture, /drops, and POST /repair, /uninstall. Errors are `{"error", "code"}`. Rejects with `admin-socket`.
 */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const { limits = ADMIN_LIMITS } = options;
  const { requestMs, headBytesMax, connectionsMax } = limits;
  const serving = new Serving(options);
  const server = http.createServer(
    {
      ...{ requestTimeout: requestMs, headersTimeout: requestMs, maxHeaderSize: headBytesMax },
      connectionsCheckingInterval: requestMs / 4,
    },
    (request, response) => void serving.answer(request, response),
  );
  server.maxConnections = connectionsMax;
  const own = await listenAlone(server, options.socket).catch((thrown: unknown) => {
    server.close();
    throw new HeddleError(
      'admin-socket',
      `the admin socket ${options.socket} can't be made: ${messageOf(thrown)}`,
      {
        cause: thrown,
      },
    );
  });
  return {
    async close() {
      own.release();
      serving.close();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = options.clock.after(limits.endMs, () => server.closeAllConnections());
      await closed;
      timer.cancel();
    },
  };
}

class Serving {
  readonly #options: AdminOptions;
  readonly #limits: AdminLimits;
  readonly #followers = new Set<() => void>();

  constructor(options: AdminOptions) {
    this.#options = options;
    this.#limits = options.limits ?? ADMIN_LIMITS;
  }

  /** Never rejects. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#route(request, response);
    } catch (thrown) {
      const code = thrown instanceof HeddleError ? thrown.code : 'internal';
      const status = STATUS[code] ?? 500;
      if (status === 500)
        log.error('an admin request failed', { url: request.url, error: messageOf(thrown) });
      send(response, status, { error: messageOf(thrown), code });
    }
  }

  close(): void {
    for (const end of this.#followers) end();
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { view } = this.#options;
    const target = request.url ?? '';
    if (!target.startsWith('/') || target.length > this.#limits.urlBytesMax)
      throw new HeddleError(
        'bad-request',
        `the target must be a path of at most ${this.#limits.urlBytesMax} bytes`,
      );
    const { pathname, searchParams } = new URL(`http://agent${target}`);
    if (pathname === '/uninstall')
      return this.#uninstall(request, response, searchParams.get('force') === '1');
    if (pathname === '/repair') return this.#repair(request, response);
    if (request.method !== 'GET') throw new HeddleError('method', `${pathname} takes GET`);
    if (pathname === '/drops') return this.#drops(response, searchParams);
    const body = answerOf(view, pathname, searchParams);
    if (body === undefined)
      throw new HeddleError(
        'not-found',
        'there are /status, /endpoints, /services, /policy, /policy/verdict, /capture, /drops, /repair and /uninstall',
      );
    send(response, 200, body);
  }

  #drops(response: ServerResponse, params: URLSearchParams): void {
    const { view, log } = this.#options;
    const query = dropQuery(params);
    if (!query.follow) {
      send(response, 200, { items: selected(view.drops, query), counts: view.drops.counts() });
      return;
    }
    if (this.#followers.size >= this.#limits.followersMax)
      throw new HeddleError(
        'overload',
        `at most ${this.#limits.followersMax} readers can follow drops at a time`,
      );
    const end = follow(view.drops, query, response, (cutOff) => {
      this.#followers.delete(end);
      if (cutOff) log.warn('a reader of drops was cut off: it reads too slowly');
    });
    this.#followers.add(end);
  }

  async #repair(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'POST') throw new HeddleError('method', '/repair takes POST');
    const report: RepairReport = { repaired: await this.#options.view.repair() };
    send(response, 200, report);
  }

  async #uninstall(request: IncomingMessage, response: ServerResponse, force: boolean): Promise<void> {
    const { view, shutdown, log } = this.#options;
    if (request.method !== 'POST') throw new HeddleError('method', '/uninstall takes POST');
    const pods = view.localPods().map(({ namespace, name }) => `${namespace}/${name}`);
    if (pods.length > 0 && !force) {
      const some = `${pods.slice(0, 5).join(', ')}${pods.length > 5 ? ', …' : ''}`;
      throw new HeddleError(
        'pods-attached',
        `${pods.length} pods are attached to this node's network and would lose it (${some}): move them away first, or use --force`,
      );
    }
    log.warn('the pod network is being removed from this node', { pods: pods.length });
    const report = await view.uninstall();
    response.once('close', () => shutdown?.());
    send(response, 200, report);
  }
}

function answerOf(view: AgentView, path: string, params: URLSearchParams): object | undefined {
  const kernel = params.get('kernel') === '1';
  switch (path) {
    case '/status':
      return statusOf(view, kernel);
    case '/endpoints':
      return { items: endpointsOf(view, kernel) };
    case '/services':
      return { items: servicesOf(view, kernel) };
    case '/policy':
      return { items: policiesOf(view) };
    case '/policy/verdict':
      return verdictOf(view, params);
    case '/capture':
      return { items: captureOf(view) };
    default:
      return undefined;
  }
}

/** A connection for each question: nothing idle is left for the agent's end to wait for. */
function send(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    ...{ 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' },
    ...{ 'content-length': Buffer.byteLength(text), connection: 'close' },
  });
  response.end(text);
}
