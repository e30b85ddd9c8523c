import type { ByteStream } from '../../common/net.ts';
import { type AppProtocol, DEFAULT_SIDECAR_SETTINGS } from '../../model/snapshot.ts';
import type { RequestHead } from '../codec/request-head.ts';
import { Exchange } from '../http/exchange.ts';
import type { ExchangeStages } from '../http/exchange-stages.ts';
import type { ServerConnection } from '../http/server-connection.ts';
import type { ServerExchange } from '../http/server-types.ts';
import type { Meant } from '../route/outbound.ts';
import type { StackContext } from '../stack-context.ts';
import type { FoundDestination } from '../stage.ts';
import { resetStream } from '../tls/reset.ts';
import { OpaqueRelay, type OpaqueStages } from '../upstream/opaque.ts';
import { ConnectRequest } from './connect-request.ts';
import type { OpenStreams } from './connections.ts';
import { type Detected, detect, detectUndecided } from './detect.ts';
import { peek } from './peek.ts';

export type OutboundMode = 'transparent' | 'http-proxy';

/** How requests and connections of the outbound side are served, as `stack.ts` composes it. */
export interface OutboundStages {
  /** `meant` undefined: each request names its destination. */
  http(meant: Meant | undefined): ExchangeStages;
  opaque(meant: Meant, client: ByteStream): OpaqueStages;
}

/**
 * The app's side of the sidecar. `transparent`: the accepted socket's own address is where the app meant to go.
 * `http-proxy`: each request names it, by absolute form, CONNECT or Host; what is said inside of a CONNECT is then looked
 * at as a connection to there.
 */
export class OutboundListener {
  readonly #context: StackContext;
  readonly #streams: OpenStreams;
  readonly #stages: OutboundStages;
  readonly #proxied: ExchangeStages;

  constructor(context: StackContext, streams: OpenStreams, stages: OutboundStages) {
    this.#context = context;
    this.#streams = streams;
    this.#stages = stages;
    this.#proxied = stages.http(undefined);
  }

  accept(stream: ByteStream, mode: OutboundMode): void {
    const { telemetry } = this.#context.deps;
    const kept = this.#streams.add(stream, () => telemetry.connection('outbound', 'closed'));
    stream.on('error', destroyStream);
    if (!kept) {
      resetStream(stream);
      return;
    }
    telemetry.connection('outbound', 'opened');
    if (mode === 'http-proxy') {
      this.#serve(stream, this.#proxied, (connection, head) => this.#connect(connection, head));
      return;
    }
    this.#carry(stream, { host: plainAddress(stream.localAddress), port: stream.localPort ?? 0 });
  }

  /** A connection whose destination is known: by its protocol if that is declared, else by its first bytes. */
  #carry(stream: ByteStream, meant: Meant): void {
    if (this.#context.isOwnAddress(meant.host, meant.port)) {
      resetStream(stream);
      return;
    }
    const found = this.#context.deps.config.find(meant.host, meant.port);
    const go = (key: string | undefined) => {
      const { config } = this.#context.deps;
      const protocol = key === undefined ? 'auto' : config.snapshot().destination(key)?.protocol;
      this.#byProtocol(stream, meant, protocol ?? 'auto');
    };
    if (!(found instanceof Promise)) {
      go(found.kind === 'mesh' ? found.key : undefined);
      return;
    }
    stream.pause();
    found.then(
      (later) => go(later.kind === 'mesh' ? later.key : undefined),
      () => resetStream(stream),
    );
  }

  #byProtocol(stream: ByteStream, meant: Meant, protocol: AppProtocol): void {
    if (stream.destroyed) return;
    switch (protocol) {
      case 'http':
        this.#serve(stream, this.#stages.http(meant));
        return;
      case 'tcp':
      case 'tls':
        this.#relay(stream, meant, undefined);
        return;
      case 'http2':
      case 'grpc':
      case 'auto':
        this.#detect(stream, meant);
        return;
    }
  }

  #detect(stream: ByteStream, meant: Meant): void {
    const { deadlines, limits } = this.#context;
    peek<Detected>(
      stream,
      deadlines,
      {
        timeoutMs: this.#settings().detectionTimeoutMs,
        bytesMax: limits.detectionBytesMax,
        judge: detect,
        undecided: detectUndecided,
      },
      (detected, ended) => {
        if (detected === 'http1') this.#serve(stream, this.#stages.http(meant));
        else this.#relay(stream, meant, ended, detected === 'silent');
      },
    );
  }

  #relay(stream: ByteStream, meant: Meant, first: Buffer | undefined, silent = false): void {
    this.#streams.decided(stream);
    this.#context.deps.telemetry.connection('outbound', 'opaque');
    // A client that has said nothing may still turn out to speak HTTP, if its server doesn't speak first.
    const late = {
      judge: detect,
      undecided: detectUndecided,
      begunMs: () => this.#settings().detectionTimeoutMs,
      take: (detected: Detected) => {
        if (detected === 'http1') this.#serve(stream, this.#stages.http(meant));
        return detected === 'http1';
      },
    };
    const stages = this.#stages.opaque(meant, stream);
    new OpaqueRelay(this.#context, stages, stream, first, silent ? late : undefined).start();
  }

  #settings() {
    return this.#context.deps.config.inbound()?.settings ?? DEFAULT_SIDECAR_SETTINGS;
  }

  #serve(
    stream: ByteStream,
    stages: ExchangeStages,
    special?: (connection: ServerConnection, head: RequestHead) => ServerExchange | undefined,
  ): void {
    const { limits, deadlines } = this.#context;
    const client = { remoteAddress: plainAddress(stream.remoteAddress), peer: undefined };
    this.#streams.serveHttp(stream, client, stages, limits, deadlines, special);
  }

  #connect(connection: ServerConnection, head: RequestHead): ServerExchange | undefined {
    const meant = head.targetAuthority;
    if (head.method !== 'CONNECT' || meant === undefined) return undefined;
    return new ConnectRequest(connection, {
      refuses: () => this.#refuses(meant),
      answer: () => new Exchange(connection, head, this.#proxied),
      carry: (stream) => this.#carry(stream, meant),
    });
  }

  /** Whether it is known, without dialling, that a connection to there would be refused. */
  #refuses(meant: Meant): boolean | Promise<boolean> {
    const { deps } = this.#context;
    if (this.#context.isOwnAddress(meant.host, meant.port)) return true;
    const judge = ({ kind }: FoundDestination) => {
      if (kind === 'external') return deps.config.inbound()?.settings.outboundUnknown === 'DENY';
      return kind === 'unavailable';
    };
    const found = deps.config.find(meant.host, meant.port);
    return found instanceof Promise ? found.then(judge, () => true) : judge(found);
  }
}

/** IPv4 in its own form: a dual-stack socket shows it as `::ffff:10.0.0.1`. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return '';
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

function destroyStream(this: ByteStream): void {
  this.destroy();
}
