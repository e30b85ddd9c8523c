import type { ByteStream } from '../../common/net.ts';
import { BodyDecoder, type BodySink } from '../codec/body-decoder.ts';
import { HeadBuffer } from '../codec/head-buffer.ts';
import type { EngineLimits } from '../codec/limits.ts';
import { parseResponseHead, type ResponseHead } from '../codec/response-head.ts';
import { Deadline, type Deadlines } from '../http/deadlines.ts';
import { Writer } from '../http/writer.ts';
import { resetStream } from '../tls/reset.ts';

/** Takes one response as it comes. */
export interface ResponseSink {
  /** Interim responses (1xx) too; the final one comes last. */
  onHead(head: ResponseHead): void;
  onBody(chunk: Buffer): void;
  onBodyEnd(trailers: string): void;
  /** All input of one read event has been handed over: write. */
  settleOutput(): void;
  onUpstreamDrain(): void;
  /** The connection is gone before the response was whole. */
  onUpstreamGone(problem: UpstreamProblem): void;
}

export interface UpstreamProblem {
  readonly message: string;
  /** The peer's TLS refused us, so that no request was read. */
  readonly refusedByPeer: boolean;
  /** The connection had served before and ended without a byte of this answer: its peer was closing it already. */
  readonly stale: boolean;
}

/** What happens to a connection outside of an exchange. */
export interface ConnectionOwner {
  onIdle(connection: ClientConnection): void;
  onGone(connection: ClientConnection): void;
}

/** The client side of one HTTP/1 connection: one request at a time, its response read strictly. */
export class ClientConnection implements BodySink {
  readonly stream: ByteStream;
  readonly writer: Writer;
  readonly bornMs: number;
  readonly verifiedPeer: string | undefined;
  idleSinceMs = 0;
  closedByPeer = false;
  /** Learned from the peer: how long it keeps an idle connection. */
  idleHintMs: number | undefined;
  readonly idleDeadline: Deadline;
  readonly #owner: ConnectionOwner;
  readonly #limits: EngineLimits;
  readonly #heads: HeadBuffer;
  readonly #body: BodyDecoder;
  #sink: ResponseSink | undefined;
  #method = '';
  #head: ResponseHead | undefined;
  #interim = 0;
  #paused = false;
  #requestDone = false;
  #exchanges = 0;
  #problem: UpstreamProblem | undefined;
  #gone = false;

  constructor(
    stream: ByteStream,
    verifiedPeer: string | undefined,
    owner: ConnectionOwner,
    limits: EngineLimits,
    deadlines: Deadlines,
  ) {
    this.stream = stream;
    this.verifiedPeer = verifiedPeer;
    this.writer = new Writer(stream);
    this.bornMs = deadlines.now();
    this.#owner = owner;
    this.#limits = limits;
    this.#heads = new HeadBuffer(limits.headerBytesMax);
    this.#body = new BodyDecoder(this, limits);
    this.idleDeadline = new Deadline(() => stream.destroy());
    stream.on('data', this.#onData);
    stream.on('drain', this.#onDrain);
    stream.on('end', this.#onEnd);
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
  }

  /** Whether it can carry a request now. */
  get usable(): boolean {
    const { stream } = this;
    return !this.#gone && !stream.destroyed && !stream.readableEnded && stream.writable;
  }

  /** Begins an exchange. The sink writes the request through `writer`. */
  start(method: string, sink: ResponseSink): void {
    this.#exchanges++;
    this.#method = method;
    this.#sink = sink;
    this.#head = undefined;
    this.#interim = 0;
    this.#requestDone = false;
  }

  /** Another sink takes the rest of the response. */
  handOver(sink: ResponseSink): void {
    this.#sink = sink;
  }

  /** The request is written whole. */
  requestDone(): void {
    this.#requestDone = true;
  }

  /** Ends the exchange; the connection is used again where both messages ended properly, else destroyed. */
  release(): void {
    this.#sink = undefined;
    // Both messages must be over, the request also on the wire: a peer that answered early may never read the rest of it.
    const over = this.#body.done && this.#requestDone && this.stream.writableLength === 0;
    if (over && this.#head?.keepAlive === true && this.usable && !this.#heads.partial) {
      this.resume();
      this.#owner.onIdle(this);
    } else {
      this.stream.destroy();
    }
  }

  /** Ends the exchange and the connection with it: the peer sees that nobody waits any more. */
  abandon(): void {
    this.#sink = undefined;
    resetStream(this.stream);
  }

  /** Closes a connection that is idle; its place is free at once. */
  close(): void {
    this.#leave();
    this.stream.destroy();
  }

  /** Gives the stream away, for a tunnel. */
  takeStream(): ByteStream {
    const { stream } = this;
    this.#sink = undefined;
    stream.off('data', this.#onData);
    stream.off('drain', this.#onDrain);
    stream.off('end', this.#onEnd);
    stream.pause();
    if (this.#rest !== undefined) stream.unshift(this.#rest);
    this.#rest = undefined;
    return stream;
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.stream.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.stream.resume();
  }

  onBody(chunk: Buffer): void {
    this.#sink?.onBody(chunk);
  }

  onBodyEnd(trailers: string): void {
    this.#sink?.onBodyEnd(trailers);
  }

  /** Bytes after a 101 or a CONNECT's 2xx: the tunnel's. */
  #rest: Buffer | undefined;

  readonly #onData = (chunk: Buffer): void => {
    const sink = this.#sink;
    if (sink === undefined) {
      // Bytes that answer no request could be taken for the next one's response.
      this.stream.destroy();
      return;
    }
    const fault = this.#process(chunk);
    if (fault !== undefined) {
      this.#fail({ message: fault, refusedByPeer: false, stale: false });
      return;
    }
    // Not always the sink from before: a response that is thrown away changed hands meanwhile.
    this.#sink?.settleOutput();
  };

  #process(chunk: Buffer): string | undefined {
    let input = chunk;
    let at = 0;
    while (at < input.length && this.#sink !== undefined) {
      if (this.#head === undefined) {
        const found = this.#heads.find(input, at);
        if (found === undefined) return undefined;
        if ('fault' in found) return found.message;
        const head = parseResponseHead(found, this.#method, this.#limits);
        if ('fault' in head) return head.message;
        input = found.bytes;
        at = found.next;
        const fault = this.#takeHead(head, input, at);
        if (fault !== undefined) return fault;
        if (this.#tunnelling) return undefined;
      } else if (!this.#body.done) {
        const next = this.#body.decode(input, at);
        if (typeof next === 'string') return next;
        at = next;
      } else {
        // More bytes than the response has: the connection is not to be trusted with another request.
        this.#head.keepAlive = false;
        return undefined;
      }
    }
    // The exchange ended inside this read and bytes are left: nobody asked for them.
    if (at < input.length && !this.#tunnelling) this.stream.destroy();
    return undefined;
  }

  #tunnelling = false;

  /** What stands in `input` from `at` on follows the head. */
  #takeHead(head: ResponseHead, input: Buffer, at: number): string | undefined {
    if (head.interim) {
      if (++this.#interim > this.#limits.interimResponsesMax) return 'too many interim responses';
      this.#sink?.onHead(head);
      return undefined;
    }
    if (head.idleHintMs !== undefined) this.idleHintMs = head.idleHintMs;
    if (head.status === 101 || (this.#method === 'CONNECT' && head.status < 300)) {
      this.#tunnelling = true;
      if (at < input.length) this.#rest = input.subarray(at);
      head.keepAlive = false;
    }
    this.#head = head;
    this.#body.start(head.framing);
    this.#sink?.onHead(head);
    if (head.framing === 0 && !this.#tunnelling) this.#sink?.onBodyEnd('');
    return undefined;
  }

  readonly #onDrain = (): void => {
    this.#sink?.onUpstreamDrain();
  };

  readonly #onEnd = (): void => {
    this.closedByPeer = true;
    if (this.#head !== undefined && this.#body.finishAtClose()) this.#sink?.settleOutput();
    if (this.#sink === undefined) this.stream.destroy();
    else
      this.#fail({
        message: 'the peer closed the connection before its response was whole',
        refusedByPeer: false,
        stale: this.#unheard && this.#exchanges > 1,
      });
  };

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.closedByPeer = true;
    this.#problem ??= {
      message: error.message,
      // A TLS alert right after our handshake: the peer refused our certificate before it read anything.
      refusedByPeer: error.code?.startsWith('ERR_SSL_') === true && this.#unheard && this.#exchanges === 1,
      stale: this.#unheard && this.#exchanges > 1,
    };
    this.stream.destroy();
  };

  #leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.idleDeadline.cancel();
    this.#owner.onGone(this);
  }

  readonly #onClose = (): void => {
    this.#leave();
    const sink = this.#sink;
    this.#sink = undefined;
    sink?.onUpstreamGone(
      this.#problem ?? { message: 'the connection was closed', refusedByPeer: false, stale: false },
    );
  };

  /** Whether nothing of this exchange's answer has come. */
  get #unheard(): boolean {
    return this.#head === undefined && this.#interim === 0 && !this.#heads.partial;
  }

  #fail(problem: UpstreamProblem): void {
    const sink = this.#sink;
    this.#sink = undefined;
    this.stream.destroy();
    sink?.onUpstreamGone(problem);
  }
}
