import type { ByteStream } from '../../common/net.ts';
import type { ServerConnection } from '../http/server-connection.ts';
import type { ServerExchange } from '../http/server-types.ts';

/**
 * A CONNECT to the sidecar itself (RFC 9110, section 9.3.6): granted at once, and what follows is a connection to the
 * named place. Whether that can be reached shows inside, as it would for a captured connection.
 */
export class ConnectRequest implements ServerExchange {
  readonly #connection: ServerConnection;
  readonly #carry: (stream: ByteStream) => void;

  constructor(connection: ServerConnection, carry: (stream: ByteStream) => void) {
    this.#connection = connection;
    this.#carry = carry;
  }

  begin(): void {
    const { writer } = this.#connection;
    writer.text('HTTP/1.1 200 Connection Established\r\n\r\n');
    writer.flush();
  }

  settleInput(): void {
    const stream = this.#connection.takeStream();
    this.#carry(stream);
  }

  // A CONNECT has no body, and from `settleInput` on the connection is somebody else's.
  onBody(): void {
    this.#connection.cut();
  }
  onBodyEnd(): void {
    this.#connection.cut();
  }
  onBrokenBody(): void {
    this.#connection.cut();
  }
  onClientDrain(): void {
    this.#connection.writer.flush();
  }
  onClientGone(): void {
    this.#connection.stream.destroy();
  }
}
