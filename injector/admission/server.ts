import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Credentials } from '../../common/ca/workload-identity.ts';
import { Callers } from '../../common/callers.ts';
import { type Clock, sleep } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { BodyReader, HttpRefusal } from './body.ts';
import { firstCertificate } from './first-certificate.ts';
import { type AdmissionLimits, DEFAULT_ADMISSION_LIMITS } from './limits.ts';
import { answerReview, type DecidePod } from './review.ts';

export interface AdmissionOptions {
  /** IP address. */
  readonly listen: string;
  /** 0: any free one. */
  readonly port: number;
  readonly decide: DecidePod;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<AdmissionLimits>;
  /** 0 where it isn't said. */
  readonly lingerMs?: number;
}

export interface AdmissionServer {
  readonly port: number;
  /** Handshakes from now on use this certificate; connections that stand keep theirs. */
  use(credentials: Credentials): void;
  /** Why there is no new certificate, for whoever asks whether the webhook is ready. */
  explain(reason: string): void;
  /**
   * Not ready from now on, but serving for `lingerMs`: callers hear of it with a delay. Then ends with the requests that are
   * being answered, or after `drainMs` without them.
   */
  close(): Promise<void>;
}

const INJECT_PATH = '/inject';
const LIVE_PATH = '/livez';
const READY_PATH = '/readyz';

/**
 * The webhook over HTTPS (Kubernetes, "Dynamic Admission Control"). It listens at once; until it has a certificate of the
 * mesh it tells kubelet's probes that it lives and why it isn't ready. Rejects where the port can't be had.
 */
export async function serveAdmission(options: AdmissionOptions): Promise<AdmissionServer> {
  const admission = new Admission(options);
  await admission.listen();
  return admission;
}

class Admission implements AdmissionServer {
  readonly #options: AdmissionOptions;
  readonly #limits: AdmissionLimits;
  readonly #bodies: BodyReader;
  readonly #callers: Callers;
  readonly #server: https.Server;
  #expiresAtMs: number | undefined;
  #reason = 'the control plane has not answered yet';
  #closing = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_ADMISSION_LIMITS, ...options.limits };
    this.#bodies = new BodyReader(this.#limits);
    const first = firstCertificate(options.clock.wallMs());
    this.#server = https.createServer(
      {
        key: first.privateKeyPem,
        cert: first.certificatePem,
        minVersion: 'TLSv1.3',
        maxHeaderSize: this.#limits.headBytesMax,
        handshakeTimeout: this.#limits.handshakeMs,
        headersTimeout: this.#limits.requestMs,
        requestTimeout: this.#limits.requestMs,
        connectionsCheckingInterval: Math.ceil(this.#limits.requestMs / 10),
        keepAliveTimeout: this.#limits.idleMs,
      },
      (request, response) => this.#receive(request, response),
    );
    const callers = new Callers(this.#limits.connectionsMax);
    this.#callers = callers;
    this.#server.on('connection', (socket: Socket) => callers.open(socket));
    this.#server.on('secureConnection', (socket) => callers.secured(socket));
  }

  listen(): Promise<void> {
    const { listen, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host: listen, port }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
  }

  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }

  use(credentials: Credentials): void {
    this.#expiresAtMs = credentials.expiresAtMs;
    this.#server.setSecureContext({
      minVersion: 'TLSv1.3',
      key: credentials.privateKeyPem,
      cert: credentials.certificateChainPem,
    });
  }

  explain(reason: string): void {
    this.#reason = reason;
  }

  async close(): Promise<void> {
    this.#closing = true;
    const { lingerMs = 0 } = this.#options;
    if (lingerMs > 0) await sleep(this.#options.clock, lingerMs);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const timer = this.#options.clock.after(this.#limits.drainMs, () => this.#server.closeAllConnections());
    await closed;
    timer.cancel();
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    response.once('close', this.#callers.begin(request.socket));
    this.#route(request, response).catch((thrown: unknown) => {
      // A client that went away in the middle of its request has nobody to answer.
      if (request.destroyed && !request.complete) return;
      const status = thrown instanceof HttpRefusal ? thrown.status : 500;
      const { log } = this.#options;
      if (status === 500) log.error('a review failed', { error: messageOf(thrown) });
      else log.warn('a request was refused', { status, reason: messageOf(thrown) });
      this.#send(response, status, 'text/plain', status === 500 ? 'the review failed' : messageOf(thrown));
    });
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path] = (request.url ?? '').split('?', 1);
    if (path === LIVE_PATH) this.#send(response, 200, 'text/plain', 'live');
    else if (path === READY_PATH) this.#ready(response);
    else if (path !== INJECT_PATH) throw new HttpRefusal(404, `reviews are taken at ${INJECT_PATH}`);
    else if (request.method !== 'POST') throw new HttpRefusal(405, 'a review is sent with POST');
    else if (mediaType(request) !== 'application/json')
      throw new HttpRefusal(415, 'a review is application/json');
    else this.#answer(response, await this.#bodies.read(request));
  }

  #ready(response: ServerResponse): void {
    const obstacle = this.#obstacle();
    this.#send(response, obstacle === undefined ? 200 : 503, 'text/plain', obstacle ?? 'ready');
  }

  /** Why nobody should be sent here now, or undefined. */
  #obstacle(): string | undefined {
    if (this.#closing) return 'the webhook is going away';
    if (this.#expiresAtMs === undefined) return `there is no certificate of the mesh yet: ${this.#reason}`;
    if (this.#expiresAtMs <= this.#options.clock.wallMs())
      return `the certificate has expired: ${this.#reason}`;
    return undefined;
  }

  #answer(response: ServerResponse, body: string): void {
    const { clock, decide, log } = this.#options;
    const startedAtMs = clock.now();
    const answer = answerReview(body, decide);
    if (answer.kind === 'malformed') throw new HttpRefusal(400, answer.message);
    const { outcome, ...fields } = answer.decision;
    log.info(`pod ${outcome}`, { ...fields, tookMs: Math.round((clock.now() - startedAtMs) * 100) / 100 });
    this.#send(response, 200, 'application/json', JSON.stringify(answer.body));
  }

  #send(response: ServerResponse, status: number, type: string, body: string): void {
    if (response.headersSent || response.destroyed) return;
    response.writeHead(status, {
      'content-type': type,
      'content-length': Buffer.byteLength(body),
      ...(status === 405 ? { allow: 'POST' } : {}),
      ...(status === 503 ? { 'retry-after': '1' } : {}),
      // What is left of a body that was refused is not read to its end.
      ...(this.#closing || !response.req.complete ? { connection: 'close' } : {}),
    });
    response.end(body);
  }
}

function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}
