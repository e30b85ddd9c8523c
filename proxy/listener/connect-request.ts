import type { ByteStream } from '../../common/net.ts';
import type { HeadFault } from '../codec/fields.ts';
import type { ServerConnection } from '../http/server-connection.ts';
import type { ServerExchange } from '../http/server-types.ts';

export interface ConnectStages {
  /** Whether the named place is one that no connection may go to. */
  refuses(): boolean | Promise<boolean>;
  /** Answers the request as any other that can't be carried. */
  answer(): ServerExchange;
  /** Takes the client's connection from here. */
  carry(stream: ByteStream): void;
}

/**
 * A CONNECT to the sidecar itself (RFC 9110, section 9.3.6): granted once it is known that the place is not a forbidden
 * one, and what follows is a connection to there. Whether that can be reached shows inside, as it would for a captured
 * connection.
 */
export class ConnectRequest implements ServerExchange {
  readonly #connection: ServerConnection;
  readonly #stages: ConnectStages;
  #granted = false;
  #over = false;
  /** The exchange that answers a refused one. */
  #answer: ServerExchange | undefined;

  constructor(connection: ServerConnection, stages: ConnectStages) {
    this.#connection = connection;
    this.#stages = stages;
  }

  begin(): void {
    const refused = this.#stages.refuses();
    if (typeof refused === 'boolean') {
      this.#decide(refused);
      return;
    }
    refused.then((later) => {
      if (this.#over) return;
      this.#decide(later);
      this.settleInput();
    });
  }

  #decide(refused: boolean): void {
    if (refused) {
      this.#answer = this.#stages.answer();
      this.#answer.begin();
      return;
    }
    const { writer } = this.#connection;
    writer.text('HTTP/1.1 200 Connection Established\r\n\r\n');
    writer.flush();
    this.#granted = true;
  }

  settleInput(): void {
    this.#answer?.settleInput();
    if (!this.#granted || this.#over) return;
    this.#over = true;
    this.#stages.carry(this.#connection.takeStream());
  }

  // A CONNECT has no body, and once granted the connection is somebody else's.
  onBody(): void {
    this.#connection.cut();
  }
  onBodyEnd(): void {
    this.#connection.cut();
  }
  onBrokenBody(fault: HeadFault): void {
    if (this.#answer !== undefined) this.#answer.onBrokenBody(fault);
    else this.#connection.cut();
  }
  onClientDrain(): void {
    this.#answer?.onClientDrain();
  }
  onClientGone(): void {
    this.#over = true;
    if (this.#answer !== undefined) this.#answer.onClientGone();
    else this.#connection.stream.destroy();
  }
}
