import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { TLSSocket } from 'node:tls';
import { controlPlaneIdentity } from '../../common/ca/control-plane-tls.ts';
import type { Logger } from '../../common/log.ts';
import type { IdentityStage } from '../stage.ts';
import { contextOptions } from '../tls/contexts.ts';
import { isCurrent, spiffeIdOf } from '../tls/names.ts';
import { type PageAnswer, type PageHandler, text } from './answer.ts';
import { type AdminServer, type ListenPoint, serveAdmin } from './server.ts';

export interface ControlPlaneAdminOptions extends ListenPoint {
  readonly trustDomain: string;
  readonly identity: IdentityStage;
  /** Pages that change nothing. */
  readonly pages: PageHandler;
  /** Milliseconds since the Unix epoch. */
  readonly wallMs: () => number;
  readonly log: Logger;
}

/**
 * The read-only pages over mTLS for the control plane alone: `heddle explain` reads a sidecar's live state through it.
 * Starts with the first certificate, and takes each later one without closing connections.
 */
export class ControlPlaneAdmin {
  readonly #options: ControlPlaneAdminOptions;
  #server: https.Server | undefined;
  #admin: AdminServer | undefined;
  #stopWatching = () => {};

  constructor(options: ControlPlaneAdminOptions) {
    this.#options = options;
  }

  /** Settles once it listens; rejects with `HeddleError` (`listen`). Needs a certificate to be there. */
  async start(): Promise<AdminServer> {
    const { identity, pages, log, host, port } = this.#options;
    const credentials = identity.current();
    if (credentials === undefined) throw new Error('the read-only admin needs a certificate to start with');
    this.#stopWatching = identity.onChange((next) => this.#server?.setSecureContext(contextOptions(next)));
    this.#admin = await serveAdmin({
      ...{ host, port, log, handle: pages, name: 'the read-only admin for the control plane' },
      guard: (request) => this.#guard(request),
      create: (settings, listener) => {
        const server = https.createServer(
          { ...settings, ...contextOptions(credentials), requestCert: true, rejectUnauthorized: true },
          listener,
        );
        // No tickets: a resumed session would skip the checks of a full handshake.
        server.on('newSession', (_id, _data, callback) => callback());
        this.#server = server;
        return server;
      },
    });
    return this.#admin;
  }

  async close(): Promise<void> {
    this.#stopWatching();
    await this.#admin?.close();
  }

  /** TLS has verified the chain; any workload of the mesh has one. */
  #guard({ socket }: IncomingMessage): PageAnswer | undefined {
    const { trustDomain, wallMs } = this.#options;
    const expected = controlPlaneIdentity(trustDomain);
    const certificate =
      socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined;
    if (
      certificate !== undefined &&
      isCurrent(certificate, wallMs()) &&
      spiffeIdOf(certificate) === expected
    ) {
      return undefined;
    }
    return { ...text(403, `only ${expected} may ask here`), headers: { connection: 'close' } };
  }
}
