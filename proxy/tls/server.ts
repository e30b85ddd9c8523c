import { constants } from 'node:crypto';
import tls from 'node:tls';
import { ALPN } from '../../common/contracts.ts';
import { messageOf } from '../../common/errors.ts';
import type { ByteStream } from '../../common/net.ts';
import { parseSpiffeId } from '../../common/spiffe.ts';
import type { Credentials } from '../stage.ts';
import { contextOptions } from './contexts.ts';
import { isCurrent, spiffeIdOf } from './names.ts';
import { carriedBy } from './reset.ts';

export interface AcceptedPeer {
  readonly stream: tls.TLSSocket;
  /** Verified SPIFFE ID. */
  readonly peer: string;
  readonly protocol: string;
}

export interface MeshTlsServerOptions {
  readonly handshakeMs: number;
  readonly wallMs: () => number;
  readonly trustDomain: () => string;
  readonly onPeer: (accepted: AcceptedPeer) => void;
  readonly onRefused: (message: string) => void;
}

/**
 * Terminates mesh mTLS on streams that somebody else accepted. It is a `tls.Server` that never listens, because only a
 * `tls.Server` refuses a client without a valid certificate; a `TLSSocket` made by hand would let any client in.
 */
export class MeshTlsServer {
  readonly #options: MeshTlsServerOptions;
  #server: tls.Server | undefined;
  /** Streams in their handshake, by both ends' addresses: `tls.Server` doesn't say what carries a socket. */
  readonly #carriers = new Map<string, ByteStream>();

  constructor(options: MeshTlsServerOptions) {
    this.#options = options;
  }

  get ready(): boolean {
    return this.#server !== undefined;
  }

  /** New handshakes use these; live connections go on. */
  use(credentials: Credentials): void {
    if (this.#server === undefined) this.#server = this.#create(credentials);
    else this.#server.setSecureContext(serverOptions(credentials));
  }

  /** Takes a stream whose ClientHello is still to be read. */
  accept(stream: ByteStream): void {
    const key = addressesOf(stream);
    this.#carriers.set(key, stream);
    stream.once('close', () => {
      if (this.#carriers.get(key) === stream) this.#carriers.delete(key);
    });
    this.#server?.emit('connection', stream);
  }

  #create(credentials: Credentials): tls.Server {
    const { handshakeMs, onPeer, onRefused } = this.#options;
    const server = tls.createServer({
      ...serverOptions(credentials),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: handshakeMs,
      allowHalfOpen: true,
      ALPNCallback: ({ protocols }) => selectProtocol(protocols),
    } as tls.TlsOptions);
    // Without tickets a session would have to be kept here to be resumed: none is.
    server.on('newSession', (_id, _data, callback) => callback());
    server.on('tlsClientError', (error, socket) => {
      socket.destroy();
      onRefused(messageOf(error));
    });
    server.on('secureConnection', (socket) => {
      const carrier = this.#carriers.get(addressesOf(socket));
      if (carrier !== undefined) carriedBy(socket, carrier);
      const peer = this.#verify(socket);
      if (peer === undefined || typeof socket.alpnProtocol !== 'string') {
        onRefused('the client certificate names no workload of this trust domain');
        socket.on('error', () => socket.destroy());
        socket.destroy();
        return;
      }
      onPeer({ stream: socket, peer, protocol: socket.alpnProtocol });
    });
    return server;
  }

  #verify(socket: tls.TLSSocket): string | undefined {
    const certificate = socket.getPeerX509Certificate();
    if (!socket.authorized || certificate === undefined) return undefined;
    if (!isCurrent(certificate, this.#options.wallMs())) return undefined;
    const peer = spiffeIdOf(certificate);
    if (peer === undefined) return undefined;
    return parseSpiffeId(peer)?.trustDomain === this.#options.trustDomain() ? peer : undefined;
  }
}

/** No tickets: a resumed session would skip the checks of a full handshake. */
function serverOptions(credentials: Credentials): tls.SecureContextOptions {
  return { ...contextOptions(credentials), secureOptions: constants.SSL_OP_NO_TICKET };
}

function addressesOf(stream: ByteStream): string {
  return `${stream.remoteAddress}|${stream.remotePort}|${stream.localAddress}|${stream.localPort}`;
}

/** The first protocol of a mesh client's offer that we speak; none of them ends the handshake with an alert. */
function selectProtocol(offered: readonly string[]): string | undefined {
  if (!offered.includes(ALPN.marker)) return undefined;
  return offered.find((protocol) => protocol === ALPN.http1 || protocol === ALPN.opaque);
}
