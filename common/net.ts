import net from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * A byte stream between two processes: a TCP socket in production, one end of an in-memory pair in tests. It is the part
 * of `net.Socket` that Heddle uses.
 */
export interface ByteStream extends Duplex {
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  setNoDelay?(on?: boolean): unknown;
  setKeepAlive?(on?: boolean, initialDelayMs?: number): unknown;
  /** Closes with RST where the transport has one; otherwise as `destroy`. */
  resetAndDestroy?(): unknown;
}

export interface DialTarget {
  /** An IP address; names are resolved before dialling. */
  readonly host: string;
  readonly port: number;
  /** Source address, for a sidecar that dials the app as the client's own address. */
  readonly localAddress?: string;
}

/**
 * Opens connections. `dial` returns at once; the stream emits `connect` or `error`. There is no timeout here: the caller
 * owns the deadline, because only it knows whose time it is.
 */
export interface Dialer {
  dial(target: DialTarget): ByteStream;
}

export const tcpDialer: Dialer = {
  dial(target) {
    return net.connect({
      host: target.host,
      port: target.port,
      noDelay: true,
      ...(target.localAddress === undefined ? {} : { localAddress: target.localAddress }),
    });
  },
};

/** A connection to a Unix socket of this machine; `connect` or `error` follow, as with `dial`. */
export function dialUnix(path: string): ByteStream {
  return net.connect({ path });
}
