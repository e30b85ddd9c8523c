import { createServer, type Server, type ServerResponse } from 'node:http';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { inNetns } from '../kernel/netns.ts';
import type { HealthCheck } from '../services/plan.ts';

/** Load balancers open few and keep none for long. */
const connectionsPerPortMax = 64;
const requestMs = 5_000;

/**
 * Answers load balancers on each Service's `healthCheckNodePort`: 200 where this node has ready endpoints of it, else 503, in
 * kube-proxy's words.
 */
export class HealthChecks {
  readonly #netns: string | undefined;
  readonly #log: Logger;
  readonly #servers = new Map<number, Server>();
  #checks: ReadonlyMap<number, HealthCheck> = new Map();

  /** `netns`: the node's, where the ports are. */
  constructor(netns: string | undefined, log: Logger) {
    this.#netns = netns;
    this.#log = log;
  }

  /** From now on these are answered, and no others. A port that somebody else has is tried again at the next call. */
  apply(checks: readonly HealthCheck[]): void {
    this.#checks = new Map(checks.map((check) => [check.port, check]));
    for (const [port, server] of this.#servers) if (!this.#checks.has(port)) this.#end(port, server);
    for (const port of this.#checks.keys()) if (!this.#servers.has(port)) this.#begin(port);
  }

  close(): void {
    for (const [port, server] of this.#servers) this.#end(port, server);
  }

  #begin(port: number): void {
    const server = createServer({ requestTimeout: requestMs }, (_request, response) =>
      this.#answer(port, response),
    );
    server.maxConnections = connectionsPerPortMax;
    this.#servers.set(port, server);
    server.on('error', (thrown) => {
      this.#servers.delete(port);
      this.#log.warn('a health check port can not be served', { port, error: messageOf(thrown) });
    });
    // Without a host Node makes the socket at once, so that it is made inside.
    inNetns(this.#netns, () => void server.listen(port));
    server.unref();
  }

  #end(port: number, server: Server): void {
    this.#servers.delete(port);
    server.close();
    server.closeAllConnections();
  }

  #answer(port: number, response: ServerResponse): void {
    const check = this.#checks.get(port);
    const localEndpoints = check?.localEndpoints ?? 0;
    const body = {
      service: { namespace: check?.namespace ?? '', name: check?.service ?? '' },
      localEndpoints,
      serviceProxyHealthy: true,
    };
    response.writeHead(localEndpoints > 0 ? 200 : 503, {
      'content-type': 'application/json',
      'x-load-balancing-endpoint-weight': String(localEndpoints),
    });
    response.end(JSON.stringify(body));
  }
}
