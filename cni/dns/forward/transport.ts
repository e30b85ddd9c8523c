import dgram from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Dialer } from '../../../common/net.ts';
import { framed, MessageFrames } from '../serve/frames.ts';
import type { Upstream } from './upstreams.ts';

export interface ExchangeEvents {
  /** Every message that came from the upstream's address; there may be several, and false ones among them. */
  message(bytes: Buffer): void;
  /** It can't be reached this way. Called once at most, nothing comes after it. */
  failed(error: Error): void;
}

export interface Exchange {
  close(): void;
}

/** One question to one upstream. Production has sockets, tests have what they need. */
export interface Transport {
  udp(upstream: Upstream, query: Buffer, events: ExchangeEvents): Exchange;
  tcp(upstream: Upstream, query: Buffer, events: ExchangeEvents): Exchange;
}

export function socketTransport(dialer: Dialer): Transport {
  return {
    udp: exchangeByUdp,
    tcp: (upstream, query, events) => exchangeByTcp(dialer, upstream, query, events),
  };
}

/**
 * A socket for each question: its port is drawn by the kernel, so that a forger has to guess it besides the query's id (RFC 5452
 * section 9.2), and being connected it hears nobody but the upstream.
 */
function exchangeByUdp(upstream: Upstream, query: Buffer, events: ExchangeEvents): Exchange {
  const socket = dgram.createSocket(isIPv6(upstream.address) ? 'udp6' : 'udp4');
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    socket.close();
  };
  const fail = (error: Error) => {
    if (!open) return;
    close();
    events.failed(error);
  };
  socket.on('error', fail);
  socket.on('message', (bytes) => {
    if (open) events.message(bytes);
  });
  socket.connect(upstream.port, upstream.address, () => {
    if (!open) return;
    socket.send(query, (error) => {
      if (error !== null) fail(error);
    });
  });
  return { close };
}

function exchangeByTcp(dialer: Dialer, upstream: Upstream, query: Buffer, events: ExchangeEvents): Exchange {
  const stream = dialer.dial({ host: upstream.address, port: upstream.port });
  const frames = new MessageFrames();
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    stream.destroy();
  };
  const fail = (error: Error) => {
    if (!open) return;
    close();
    events.failed(error);
  };
  stream.on('error', fail);
  stream.on('close', () => fail(new Error('the upstream closed the connection')));
  stream.on('data', (chunk: Buffer) => {
    for (const message of frames.push(chunk)) if (open) events.message(message);
  });
  stream.write(framed(query));
  return { close };
}
