import { Duplex } from 'node:stream';
import type { ByteStream, Dialer, DialTarget } from '../../common/net.ts';

/**
 * The first bytes of a relayed connection: `HOST PORT\n` from the dialler; `\n` alone once the relay is connected, or
 * `REASON\n` where it can't be.
 */
export const relayHeadBytesMax = 512;

/**
 * Dials from inside a node's network namespace, through the relay that runs there: probes then come from the node itself,
 * as kubelet's do, and pass where NetworkPolicy admits nobody but the node. `open` connects to the relay.
 */
export function nodeDialer(open: () => ByteStream): Dialer {
  return { dial: (target) => new RelayedStream(open(), target) };
}

/** One connection through the relay. Emits `connect` once the far end is reached. */
class RelayedStream extends Duplex implements ByteStream {
  readonly #inner: ByteStream;
  #head = '';
  #connected = false;
  /** What is sent once connected: a stream has one write under way. */
  #waiting: (() => void) | undefined;

  constructor(inner: ByteStream, target: DialTarget) {
    super({ allowHalfOpen: true });
    this.#inner = inner;
    inner.on('error', (error) => this.destroy(error));
    inner.on('data', (chunk: Buffer) => this.#take(chunk));
    inner.on('end', () => {
      if (this.#connected) this.push(null);
      else this.destroy(new Error('the relay of the node ended the connection'));
    });
    inner.on('close', () => this.destroy());
    inner.write(`${target.host} ${target.port}\n`);
  }

  override _read(): void {
    this.#inner.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#once(() => this.#inner.write(chunk, done));
  }

  override _final(done: () => void): void {
    this.#once(() => this.#inner.end(done));
  }

  /** Until it is connected, the relay takes anything but the head for the end of who dialled. */
  #once(send: () => void): void {
    if (this.#connected) send();
    else this.#waiting = send;
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#inner.destroy();
    done(error);
  }

  #take(chunk: Buffer): void {
    if (this.#connected) {
      if (!this.push(chunk)) this.#inner.pause();
      return;
    }
    // One byte a character: what follows the head must come out as it went in.
    this.#head += chunk.toString('latin1');
    const end = this.#head.indexOf('\n');
    if (end < 0) {
      if (this.#head.length > relayHeadBytesMax) this.destroy(new Error("the node's relay answers nonsense"));
      return;
    }
    const [reason, rest] = [this.#head.slice(0, end), this.#head.slice(end + 1)];
    this.#head = '';
    if (reason !== '') {
      this.destroy(new Error(reason));
      return;
    }
    this.#connected = true;
    this.emit('connect');
    this.#waiting?.();
    if (rest !== '' && !this.push(Buffer.from(rest, 'latin1'))) this.#inner.pause();
  }
}
