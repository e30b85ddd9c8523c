import type { ByteStream } from '../../common/net.ts';
import type { HeadFault } from '../codec/fields.ts';
import type { EngineLimits } from '../codec/limits.ts';
import type { RequestHead } from '../codec/request-head.ts';
import { recordBadRequest } from '../http/bad-request.ts';
import type { Deadlines } from '../http/deadlines.ts';
import { Exchange } from '../http/exchange.ts';
import type { ExchangeStages } from '../http/exchange-stages.ts';
import { ServerConnection } from '../http/server-connection.ts';
import type { ClientInfo, ServerExchange, ServerHandler } from '../http/server-types.ts';
import { carrierOf } from '../tls/reset.ts';

/** Streams that are open, so that they can be counted, drained and closed. */
export class OpenStreams {
  readonly #streams = new Set<ByteStream>();
  readonly #connections = new Set<ServerConnection>();
  /** Accepted, and not yet known for what they carry: in their first bytes, or in a handshake. */
  readonly #undecided = new Set<ByteStream>();
  readonly #max: number;

  constructor(connectionsMax: number) {
    this.#max = connectionsMax;
  }

  get count(): number {
    return this.#streams.size;
  }

  get undecided(): number {
    return this.#undecided.size;
  }

  /** It is known what a stream carries. */
  decided(stream: ByteStream): void {
    this.#undecided.delete(carrierOf(stream));
  }

  /** Remembers a stream until it closes; false where there are too many already. */
  add(stream: ByteStream, onClose: () => void): boolean {
    if (this.#streams.size >= this.#max) return false;
    this.#streams.add(stream);
    this.#undecided.add(stream);
    stream.once('close', () => {
      this.#streams.delete(stream);
      this.#undecided.delete(stream);
      onClose();
    });
    return true;
  }

  /** Serves HTTP/1 on a stream, each request by the given stages. */
  serveHttp(
    stream: ByteStream,
    client: ClientInfo,
    stages: ExchangeStages,
    limits: EngineLimits,
    deadlines: Deadlines,
    special?: (connection: ServerConnection, head: RequestHead) => ServerExchange | undefined,
  ): void {
    this.decided(stream);
    const handler: ServerHandler = {
      request: (connection, head) => special?.(connection, head) ?? new Exchange(connection, head, stages),
      faulty: (connection: ServerConnection, fault: HeadFault) =>
        recordBadRequest(stages, connection.client, fault),
      closed: (connection) => {
        this.#connections.delete(connection);
      },
    };
    const connection = new ServerConnection(stream, client, handler, limits, deadlines);
    this.#connections.add(connection);
    if (stages.draining()) connection.closing = true;
  }

  /** Idle connections close, busy ones with their response. True once none would lose anything by a cut. */
  drain(): boolean {
    let settled = true;
    for (const connection of this.#connections) if (!connection.drain()) settled = false;
    return settled;
  }

  destroy(): void {
    for (const stream of this.#streams) stream.destroy();
  }
}
