import dgram, { type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { type Clock, sleep } from '../../../common/clock.ts';
import { HeddleError, messageOf } from '../../../common/errors.ts';
import type { DnsMetrics } from '../metrics.ts';
import type { Resolver } from '../resolver.ts';
import type { ServeLimits } from './limits.ts';

export interface ServeOptions {
  readonly address: string;
  readonly port: number;
  readonly resolver: Resolver;
  readonly clock: Clock;
  readonly metrics: DnsMetrics;
  readonly limits: ServeLimits;
}

/** A round of the end in which nothing came and nothing was under way is the last. */
const DRAIN_ROUND_MS = 20;
/** Never sent to: to be connected to it is to hear nobody. */
const NOBODY_PORT = 1;

interface Unsent {
  readonly message: Buffer;
  readonly port: number;
  readonly address: string;
}

/** Binds with SO_REUSEPORT, so that two versions of this process can listen at one time. */
export async function serveUdp(options: ServeOptions): Promise<UdpServer> {
  const { address, port, limits } = options;
  const type = isIPv6(address) ? 'udp6' : 'udp4';
  const socket = dgram.createSocket({
    ...{ type, reusePort: true, ipv6Only: type === 'udp6' },
    // All are addresses already; asking nobody makes sending one step, which the end relies on.
    lookup: (host, _options, callback) => callback(null, host, type === 'udp6' ? 6 : 4),
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (thrown) => {
      socket.close();
      reject(
        new HeddleError('listen', `UDP ${address} port ${port}: ${messageOf(thrown)}`, { cause: thrown }),
      );
    });
    socket.bind({ address, port, exclusive: true }, resolve);
  });
  socket.removeAllListeners('error');
  socket.setRecvBufferSize(limits.udpReceiveBufferBytes);
  return new UdpServer(socket, options);
}

export class UdpServer {
  readonly port: number;
  readonly #socket: Socket;
  readonly #options: ServeOptions;
  #underWay = 0;
  #draining = false;
  #heard = false;
  #unsent: Unsent[] = [];

  constructor(socket: Socket, options: ServeOptions) {
    this.#socket = socket;
    this.#options = options;
    this.port = socket.address().port;
    socket.on('message', (bytes, from) => this.#message(bytes, from));
    // A client that is gone makes sending fail; the next one is served all the same.
    socket.on('error', () => options.metrics.dropped.add(1, 'socket-error'));
  }

  #message(bytes: Buffer, from: RemoteInfo): void {
    const { resolver, metrics } = this.#options;
    this.#heard = true;
    if (from.port === 0) {
      metrics.dropped.add(1, 'no-source-port');
      return;
    }
    this.#underWay++;
    resolver.handle(bytes, from.address, 'udp', (message) => {
      this.#underWay--;
      if (message.length > 0) this.#send({ message, port: from.port, address: from.address });
    });
  }

  #send(one: Unsent): void {
    if (this.#draining) {
      this.#unsent.push(one);
      return;
    }
    const { limits, metrics } = this.#options;
    if (this.#socket.getSendQueueSize() > limits.udpUnsentBytesMax) {
      metrics.dropped.add(1, 'send-queue-full');
      return;
    }
    this.#socket.send(one.message, one.port, one.address, (error) => {
      if (error !== null) metrics.dropped.add(1, 'send-failed');
    });
  }

  /**
   * Ends without losing a question where another process listens at the same address. A connected socket gets nothing from
   * others (Linux passes it over in a SO_REUSEPORT group), so new questions go to the other process while those in the
   * queue are still read. Their answers are sent in moments when the socket is not connected.
   */
  async close(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const { clock, limits, address } = this.#options;
    const endMs = clock.now() + limits.drainMs;
    do {
      this.#heard = false;
      this.#socket.connect(NOBODY_PORT, address);
      await sleep(clock, DRAIN_ROUND_MS);
      this.#socket.disconnect();
      for (const { message, port, address: to } of this.#unsent)
        this.#socket.send(message, port, to, () => {});
      this.#unsent = [];
    } while ((this.#heard || this.#underWay > 0) && clock.now() < endMs);
    await new Promise<void>((resolve) => this.#socket.close(resolve));
  }
}
