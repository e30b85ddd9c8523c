import { Duplex } from 'node:stream';
import type { PeerCertificate } from 'node:tls';
import type { ServerDuplexStream, StatusObject } from '@grpc/grpc-js';

/** How many responses the transport takes before it says that it is full, as gRPC's streams do. */
const HIGH_WATER_MESSAGES = 16;

type Failure = Pick<StatusObject, 'code' | 'details'>;

/** The server's end of one stream, without a wire: requests go in by hand, responses are kept. */
export class FakeCall<Request, Response> extends Duplex {
  readonly sent: Response[] = [];
  #failure: Failure | undefined;
  ended = false;
  readonly #peer: PeerCertificate | undefined;
  #held: (() => void)[] | undefined;

  constructor(peer: PeerCertificate | undefined) {
    super({ objectMode: true, highWaterMark: HIGH_WATER_MESSAGES, emitClose: true });
    this.#peer = peer;
    this.on('error', (failure: Failure) => {
      this.#failure = failure;
    });
    this.on('finish', () => {
      this.ended = true;
    });
  }

  /** What the call failed with. */
  failure(): Failure | undefined {
    return this.#failure;
  }

  /** As gRPC hands it to a service. */
  asServerStream(): ServerDuplexStream<Request, Response> {
    return this as unknown as ServerDuplexStream<Request, Response>;
  }

  request(request: Request): void {
    this.push(request);
  }

  /** The client goes away without a word. */
  cancel(): void {
    this.emit('cancelled', 'cancelled');
  }

  /** From now on the client reads nothing; `drain` lets it read again. */
  hold(): void {
    this.#held = [];
  }

  drain(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const done of held) done();
  }

  getAuthContext() {
    return { transportSecurityType: 'ssl', sslPeerCertificate: this.#peer };
  }

  getPeer(): string {
    return '127.0.0.1:1';
  }

  override _read(): void {}

  override _write(response: Response, _encoding: BufferEncoding, done: () => void): void {
    this.sent.push(response);
    if (this.#held === undefined) done();
    else this.#held.push(done);
  }
}
