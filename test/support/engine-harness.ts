import type { ByteStream } from '../../common/net.ts';
import type { EngineLimits } from '../../proxy/codec/limits.ts';
import type { InboundTarget } from '../../proxy/listener/inbound.ts';
import type { OutboundMode } from '../../proxy/listener/outbound.ts';
import type { Listen } from '../../proxy/listener/tcp-listen.ts';
import { createStack, type Stack, type StackDeps } from '../../proxy/stack.ts';
import { makeFakes } from './engine-fakes.ts';
import { MemoryNetwork } from './memory-net.ts';
import { settle, VirtualClock } from './virtual-clock.ts';

export const SIDECAR_HOST = '10.0.0.9';
export const APP_HOST = '10.0.0.20';

/** One end of a conversation as a test holds it: everything heard so far, and whether the other side has ended. */
export class Talker {
  readonly stream: ByteStream;
  heard = '';
  ended = false;
  closed = false;
  error: string | undefined;
  #connecting: string[] | undefined;

  constructor(stream: ByteStream) {
    this.stream = stream;
    stream.on('data', (chunk: Buffer) => {
      this.heard += chunk.toString('latin1');
    });
    stream.on('end', () => {
      this.ended = true;
    });
    stream.on('close', () => {
      this.closed = true;
    });
    stream.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code ?? error.message;
    });
  }

  say(text: string): void {
    if (this.#connecting !== undefined) this.#connecting.push(text);
    else this.stream.write(text, 'latin1');
  }

  /** Holds what is said until the stream is connected. */
  connecting(): this {
    const waiting: string[] = [];
    this.#connecting = waiting;
    this.stream.once('connect', () => {
      this.#connecting = undefined;
      for (const text of waiting) this.say(text);
    });
    return this;
  }

  /** Takes what was heard since the last call. */
  take(): string {
    const text = this.heard;
    this.heard = '';
    return text;
  }
}

/** A data path in memory: virtual time, no sockets, apps that the test plays itself. */
export class EngineHarness {
  readonly clock = new VirtualClock();
  readonly net = new MemoryNetwork();
  readonly fakes = makeFakes();
  readonly stack: Stack;
  #onStream: ((stream: ByteStream) => void) | undefined;

  /** `real` takes the place of fakes. */
  constructor(
    limits: Partial<EngineLimits> = {},
    podAddresses: readonly string[] = [],
    real: Partial<StackDeps> = {},
  ) {
    const listen: Listen = (address, onStream) => {
      this.#onStream = onStream;
      const handle = this.net.listen(address.host, address.port, onStream);
      return Promise.resolve({
        ...address,
        close: () => {
          handle.close();
          return Promise.resolve();
        },
      });
    };
    const { clock, fakes } = this;
    const { dialer } = this.net;
    this.stack = createStack({ ...fakes, clock, dialer, listen, limits, podAddresses, ...real });
  }

  async outbound(mode: OutboundMode = 'http-proxy'): Promise<void> {
    await this.stack.listenOutbound({ host: SIDECAR_HOST, port: 15_001 }, mode);
  }

  async inbound(target?: Partial<InboundTarget>): Promise<void> {
    await this.stack.listenInbound(
      { host: SIDECAR_HOST, port: 8_080 },
      { containerPort: 8_080, app: { host: APP_HOST, port: 9_000 }, ...target },
    );
  }

  /** Connections to `host:port` arrive at the last listener with that as their own address, as captured ones do. */
  capture(host: string, port: number): void {
    const onStream = this.#onStream;
    if (onStream === undefined) throw new Error('nothing listens yet');
    this.net.listen(host, port, onStream);
  }

  /**
   * A captured pod: what peers dial at `host:port` arrives at the last listener, what that dials there reaches the app,
   * whose connections are returned.
   */
  capturedApp(host: string, port: number): { dial(from: string): Talker; readonly apps: readonly Talker[] } {
    const onStream = this.#onStream;
    if (onStream === undefined) throw new Error('nothing listens yet');
    const apps: Talker[] = [];
    let onTheirWay = 0;
    this.net.listen(host, port, (stream) => {
      if (onTheirWay > 0) {
        onTheirWay--;
        onStream(stream);
      } else apps.push(new Talker(stream));
    });
    const dial = (from: string) => {
      onTheirWay++;
      return new Talker(this.net.dialer.dial({ host, port, localAddress: from })).connecting();
    };
    return { dial, apps };
  }

  /** An app: each connection it gets, as a talker. */
  app(host = APP_HOST, port = 9_000): Talker[] {
    const talkers: Talker[] = [];
    this.net.listen(host, port, (stream) => talkers.push(new Talker(stream)));
    return talkers;
  }

  /** A service `catalog:80` with endpoints at the given addresses. */
  service(part: Partial<Parameters<typeof this.fakes.config.add>[0]> = {}): void {
    this.fakes.config.add({
      host: 'catalog',
      port: 80,
      endpoints: [{ address: APP_HOST, port: 9_000 }],
      ...part,
    });
  }

  dial(port = 15_001, host = SIDECAR_HOST): Talker {
    return new Talker(this.net.dialer.dial({ host, port })).connecting();
  }

  /** Lets everything that can happen now happen. */
  async run(): Promise<void> {
    await settle(24);
  }

  async close(): Promise<void> {
    await this.stack.close();
    await this.run();
  }
}
