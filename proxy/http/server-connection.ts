import type { ByteStream } from '../../common/net.ts';
import { BodyDecoder, type BodySink } from '../codec/body-decoder.ts';
import { EmptyLines } from '../codec/empty-lines.ts';
import { badHead, type HeadFault, TOKEN } from '../codec/fields.ts';
import { HeadBuffer } from '../codec/head-buffer.ts';
import type { EngineLimits } from '../codec/limits.ts';
import { parseRequestHead, type RequestHead } from '../codec/request-head.ts';
import { resetStream } from '../tls/reset.ts';
import { faultAnswer, timeoutAnswer } from './answers.ts';
import { Deadline, type Deadlines } from './deadlines.ts';
import { Farewell } from './farewell.ts';
import { PAUSED_PIPELINE, PAUSED_UPLOAD, Reading } from './reading.ts';
import { RequestTimers } from './request-timers.ts';
import type { ClientInfo, ServerExchange, ServerHandler } from './server-types.ts';
import { Writer } from './writer.ts';

/**
 * The server side of one HTTP/1 connection: requests one after another, each answered before the next is begun
 * (RFC 9112, section 9.3.2). It owns reading, framing and the end of the connection; the exchange owns everything else.
 */
export class ServerConnection implements BodySink {
  readonly stream: ByteStream;
  readonly client: ClientInfo;
  readonly writer: Writer;
  /** Of the request that is being answered. */
  readonly timers: RequestTimers;
  readonly #handler: ServerHandler;
  readonly #limits: EngineLimits;
  readonly #deadlines: Deadlines;
  readonly #emptyLines = new EmptyLines();
  readonly #heads: HeadBuffer;
  readonly #body: BodyDecoder;
  readonly #deadline: Deadline;
  #exchange: ServerExchange | undefined;
  /** Pipelined bytes behind the current request. */
  #rest: Buffer | undefined;
  readonly #reading: Reading;
  #processing = false;
  #begun = false;
  readonly #farewell: Farewell;
  /** What was written when the client, having finished sending, was last known to be there. */
  #heardBytes = 0;
  /** Says `Connection: close` with the next response. */
  closing = false;
  #ended = false;
  #taken = false;

  constructor(
    stream: ByteStream,
    client: ClientInfo,
    handler: ServerHandler,
    limits: EngineLimits,
    deadlines: Deadlines,
  ) {
    this.stream = stream;
    this.client = client;
    this.writer = new Writer(stream);
    this.timers = new RequestTimers(deadlines);
    this.#reading = new Reading(stream);
    this.#handler = handler;
    this.#limits = limits;
    this.#deadlines = deadlines;
    this.#heads = new HeadBuffer(limits.headerBytesMax);
    this.#body = new BodyDecoder(this, limits);
    this.#deadline = new Deadline(() => this.#expired());
    this.#farewell = new Farewell(stream, limits, deadlines);
    stream.on('data', this.#onData);
    stream.on('drain', this.#onDrain);
    stream.on('end', this.#onEnd);
    stream.on('error', ignoreError);
    stream.on('close', this.#onClose);
    deadlines.arm(this.#deadline, limits.keepAliveIdleMs);
    // Whoever had the stream before may have paused it, or read to its end.
    stream.resume();
    if (stream.readableEnded) stream.end();
  }

  /** Whether a request is being answered. */
  get busy(): boolean {
    return this.#exchange !== undefined;
  }

  /** Whether the request's body has come in whole. */
  get requestComplete(): boolean {
    return this.#body.done;
  }

  /**
   * Closes where no request is being answered, otherwise with the response. A connection that was in use a moment ago stays
   * for that moment: its client may just be sending a request that it would not send twice. True once nothing is lost by a
   * cut.
   */
  drain(): boolean {
    this.closing = true;
    if (this.#taken) return true;
    if (this.busy || this.#heads.partial || this.#rest !== undefined) return false;
    const idleMs = this.#deadlines.now() - (this.#deadline.atMs - this.#limits.keepAliveIdleMs);
    if (!this.#farewell.begun && idleMs >= this.#limits.unsafeReuseMs) this.#linger();
    return this.stream.writableFinished;
  }

  /** Stops reading the client: its body comes faster than it goes on. */
  pauseUpload(): void {
    this.#reading.pause(PAUSED_UPLOAD);
  }

  resumeUpload(): void {
    this.#reading.resume(PAUSED_UPLOAD);
  }

  onBody(chunk: Buffer): void {
    if (!this.#farewell.begun) this.#exchange?.onBody(chunk);
  }

  onBodyEnd(trailers: string): void {
    if (!this.#farewell.begun) this.#exchange?.onBodyEnd(trailers);
  }

  /** The response is written. The next request begins, or the connection ends. */
  responseDone(keepAlive: boolean): void {
    this.#exchange = undefined;
    this.#begun = false;
    // Whatever held the upload up is over with its request: an upstream that broke never drains.
    this.resumeUpload();
    if (!this.#body.done) {
      this.#linger();
      return;
    }
    if (!keepAlive || this.#ended) {
      this.#linger();
      return;
    }
    this.#deadlines.arm(this.#deadline, this.#limits.keepAliveIdleMs);
    if (!this.#processing) this.#resumeRest();
  }

  /** The response can't be completed: the client must not take it for whole. */
  cut(): void {
    this.#exchange = undefined;
    resetStream(this.stream);
  }

  /** Gives the stream away, for a tunnel, with what was read of it already. */
  takeStream(): ByteStream {
    const { stream } = this;
    this.#taken = true;
    this.#exchange = undefined;
    this.#deadline.cancel();
    this.timers.close();
    stream.off('data', this.#onData);
    stream.off('drain', this.#onDrain);
    stream.off('end', this.#onEnd);
    stream.off('close', this.#onClose);
    this.#reading.stop();
    if (this.#rest !== undefined) stream.unshift(this.#rest);
    this.#rest = undefined;
    this.#handler.closed(this);
    return stream;
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#farewell.begun) {
      this.#farewell.swallow(chunk);
      return;
    }
    const rest = this.#rest;
    this.#rest = undefined;
    this.#process(rest === undefined ? chunk : Buffer.concat([rest, chunk]), 0);
  };

  #process(bytes: Buffer, start: number): void {
    this.#processing = true;
    let input = bytes;
    let at = start;
    while (at < input.length && !this.#farewell.begun && !this.#taken && !this.stream.destroyed) {
      if (this.#exchange === undefined) {
        if (this.stream.writableNeedDrain) {
          this.#hold(input.subarray(at));
          break;
        }
        if (!this.#heads.partial) {
          at = this.#emptyLines.skip(input, at);
          if (at >= input.length) break;
          if (at < 0 || TOKEN[input[at] ?? 0] !== 1) {
            // Not waited for: it may be TLS, whose client would wait as well.
            this.#refuse(badHead('a request begins with something other than a method'));
            break;
          }
        }
        const found = this.#heads.find(input, at);
        if (found === undefined) {
          this.#deadlines.arm(this.#deadline, this.#headTimeLeft());
          break;
        }
        if ('fault' in found) {
          this.#refuse(found);
          break;
        }
        this.#headStartedMs = undefined;
        const head = parseRequestHead(found, this.#limits);
        if ('fault' in head) {
          this.#refuse(head);
          break;
        }
        input = found.bytes;
        at = found.next;
        this.#startExchange(head);
      } else if (!this.#body.done) {
        const next = this.#body.decode(input, at);
        if (typeof next === 'string') {
          this.#refuseBody(next);
          break;
        }
        at = next;
      } else {
        this.#hold(input.subarray(at));
        break;
      }
      if (this.#body.done) this.#beginOnce();
    }
    this.#beginOnce();
    this.#exchange?.settleInput();
    this.#processing = false;
    if (this.#rest !== undefined && this.#exchange === undefined) this.#resumeRest();
  }

  /** When the head that is being read must be whole; set by its first byte, so that trickling doesn't move it. */
  #headStartedMs: number | undefined;

  #headTimeLeft(): number {
    const now = this.#deadlines.now();
    this.#headStartedMs ??= now;
    return Math.max(0, this.#headStartedMs + this.#limits.headerReadMs - now);
  }

  #startExchange(head: RequestHead): void {
    this.#deadline.park();
    head.sourceAddress = this.client.remoteAddress;
    this.#body.start(head.hasBody ? head.framing : 0);
    this.#begun = false;
    this.#exchange = this.#handler.request(this, head);
  }

  #beginOnce(): void {
    if (this.#exchange === undefined || this.#begun) return;
    this.#begun = true;
    this.#exchange.begin();
  }

  #hold(rest: Buffer): void {
    this.#rest = rest;
    // The stream's own buffer bounds what else may wait; its errors are still heard.
    this.#reading.pause(PAUSED_PIPELINE);
  }

  /** Goes on with pipelined bytes, once the request before them is answered and the client takes answers. */
  #resumeRest(): void {
    if (this.stream.writableNeedDrain) return;
    const rest = this.#rest;
    this.#rest = undefined;
    this.#reading.resume(PAUSED_PIPELINE);
    if (rest !== undefined) this.#process(rest, 0);
  }

  #refuse(fault: HeadFault): void {
    this.#handler.faulty(this, fault);
    this.#answerAndEnd(faultAnswer(fault));
  }

  /** The body's framing broke: what follows can't be understood, and the exchange can't be completed. */
  #refuseBody(message: string): void {
    const fault: HeadFault = { fault: 'bad-request', message };
    this.closing = true;
    this.#exchange?.onBrokenBody(fault);
  }

  #answerAndEnd(text: string): void {
    this.closing = true;
    this.writer.text(text);
    this.writer.flush();
    this.#linger();
  }

  /** Ends the connection when its last answer is read. */
  #linger(): void {
    this.#rest = undefined;
    this.#deadline.cancel();
    this.#farewell.begin();
    this.#reading.resumeAll();
  }

  readonly #onDrain = (): void => {
    if (this.#exchange !== undefined) this.#exchange.onClientDrain();
    else if (!this.#farewell.begun) this.#resumeRest();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    if (this.client.peer !== undefined) {
      // A sidecar ends both sides at once. Node may tell a reset of TLS as an end, and what is still being written as pending.
      this.stream.destroy();
      return;
    }
    if (this.#exchange === undefined) {
      if (!this.#farewell.begun) this.stream.end();
      return;
    }
    this.closing = true;
    this.#heardBytes = this.writer.bytesWritten;
    // A client may close its sending side and still read. One that is gone looks the same, so the wait is short.
    if (this.#body.done) this.#deadlines.arm(this.#deadline, this.#limits.halfClosedMs);
    else this.stream.destroy();
  };

  readonly #onClose = (): void => {
    this.#deadline.cancel();
    this.#farewell.cancel();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    exchange?.onClientGone();
    this.timers.close();
    this.#handler.closed(this);
  };

  #expired(): void {
    if (this.#heads.partial && this.#exchange === undefined) {
      this.#answerAndEnd(timeoutAnswer());
    } else if (this.#ended && this.#tookBytes()) {
      this.#deadlines.arm(this.#deadline, this.#limits.halfClosedMs);
    } else {
      this.stream.destroy();
    }
  }

  /** Whether a client that sends nothing more is there still: one that is gone refuses what it is sent. */
  #tookBytes(): boolean {
    const heard = this.#heardBytes;
    this.#heardBytes = this.writer.bytesWritten;
    return this.#heardBytes > heard || this.stream.writableLength > 0;
  }
}

/** The stream's `close` follows every error, and that is where things are put in order. */
function ignoreError(this: ByteStream): void {
  this.destroy();
}
