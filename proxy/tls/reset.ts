import type { ByteStream } from '../../common/net.ts';

/** Of each TLS stream, the stream that carries it: only that one can be reset. */
const carriers = new WeakMap<ByteStream, ByteStream>();

/** Notes that `secure` is TLS over `raw`. */
export function carriedBy(secure: ByteStream, raw: ByteStream): void {
  carriers.set(secure, raw);
}

/** Whether a stream is TLS over another one. */
export function isSecure(stream: ByteStream): boolean {
  return carriers.has(stream);
}

/** The stream that carries `stream`, or itself. */
export function carrierOf(stream: ByteStream): ByteStream {
  return carriers.get(stream) ?? stream;
}

/**
 * Ends a stream abruptly (RST), so that its peer takes nothing for whole. A TLS stream is reset below TLS: Node's own
 * `resetAndDestroy` throws on one.
 */
export function resetStream(stream: ByteStream): void {
  if (stream.destroyed) return;
  const carrier = carrierOf(stream);
  if (carrier.resetAndDestroy !== undefined) carrier.resetAndDestroy();
  if (carrier !== stream || carrier.resetAndDestroy === undefined) stream.destroy();
}
