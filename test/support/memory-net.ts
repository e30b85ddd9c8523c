import { Duplex } from 'node:stream';
import type { ByteStream, Dialer, DialTarget } from '../../common/net.ts';

const HIGH_WATER_BYTES = 64 * 1024;
const FIRST_EPHEMERAL_PORT = 40_000;

function connectionError(code: string, syscall: string): Error {
  return Object.assign(new Error(`${syscall} ${code}`), { code, syscall });
}

/** One end of an in-memory connection: bytes written here are read there, with the reader's pace felt by the writer. */
class MemoryStream extends Duplex implements ByteStream {
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
  #peer: MemoryStream | undefined;
  #resume: (() => void) | undefined;

  constructor(local: DialTarget, remote: DialTarget) {
    super({
      allowHalfOpen: true,
      readableHighWaterMark: HIGH_WATER_BYTES,
      writableHighWaterMark: HIGH_WATER_BYTES,
    });
    this.localAddress = local.host;
    this.localPort = local.port;
    this.remoteAddress = remote.host;
    this.remotePort = remote.port;
  }

  attach(peer: MemoryStream): void {
    this.#peer = peer;
  }

  override _read(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const peer = this.#peer;
    if (peer === undefined) {
      done(connectionError('ENOTCONN', 'write'));
      return;
    }
    if (peer.destroyed) {
      done(connectionError('EPIPE', 'write'));
      return;
    }
    // The bytes arrive in a later turn, as they do from a kernel.
    const bytes = Buffer.from(chunk);
    setImmediate(() => {
      if (peer.destroyed) done(connectionError('EPIPE', 'write'));
      else if (peer.push(bytes)) done();
      else peer.#resume = () => done();
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    const peer = this.#peer;
    setImmediate(() => {
      if (peer !== undefined && !peer.destroyed) peer.push(null);
      done();
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const peer = this.#peer;
    const ended = this.writableFinished;
    this.#resume?.();
    setImmediate(() => {
      if (peer !== undefined && !peer.destroyed && !ended) peer.push(null);
    });
    done(error);
  }

  /** Ends with RST: the peer sees ECONNRESET. */
  resetAndDestroy(): this {
    const peer = this.#peer;
    this.#peer = undefined;
    this.destroy();
    setImmediate(() => {
      if (peer !== undefined && !peer.destroyed) peer.destroy(connectionError('ECONNRESET', 'read'));
    });
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }
}

/** A network inside the test process, behind the production `Dialer`. Nobody listens unless the test says so. */
export class MemoryNetwork {
  readonly #listeners = new Map<string, (stream: ByteStream) => void>();
  readonly #open = new Set<MemoryStream>();
  #nextPort = FIRST_EPHEMERAL_PORT;

  readonly dialer: Dialer = { dial: (target) => this.#dial(target) };

  listen(host: string, port: number, onStream: (stream: ByteStream) => void): { close(): void } {
    const key = `${host}:${port}`;
    if (this.#listeners.has(key)) throw connectionError('EADDRINUSE', 'listen');
    this.#listeners.set(key, onStream);
    return { close: () => this.#listeners.delete(key) };
  }

  /** Connections with an end still open. */
  openStreams(): number {
    return this.#open.size;
  }

  #dial(target: DialTarget): ByteStream {
    const local = { host: target.localAddress ?? '10.0.0.1', port: this.#nextPort++ };
    const near = new MemoryStream(local, target);
    const onStream = this.#listeners.get(`${target.host}:${target.port}`);
    if (onStream === undefined) {
      setImmediate(() => near.destroy(connectionError('ECONNREFUSED', 'connect')));
      return near;
    }
    const far = new MemoryStream(target, local);
    for (const end of [near, far]) {
      this.#open.add(end);
      end.on('close', () => this.#open.delete(end));
    }
    setImmediate(() => {
      if (near.destroyed) return;
      near.attach(far);
      far.attach(near);
      onStream(far);
      near.emit('connect');
    });
    return near;
  }
}
