import { ALPN } from '../../common/contracts.ts';
import type { ByteStream } from '../../common/net.ts';
import {
  type AppProtocol,
  DEFAULT_SIDECAR_SETTINGS,
  type InboundConfig,
  type MtlsMode,
} from '../../model/snapshot.ts';
import { Deadline } from '../http/deadlines.ts';
import type { ExchangeStages } from '../http/exchange-stages.ts';
import type { Meant } from '../route/outbound.ts';
import { isControlPort } from '../route/own-addresses.ts';
import type { StackContext } from '../stack-context.ts';
import { readClientHello } from '../tls/client-hello.ts';
import { resetStream } from '../tls/reset.ts';
import { MeshTlsServer } from '../tls/server.ts';
import { OpaqueRelay, type OpaqueStages } from '../upstream/opaque.ts';
import type { OpenStreams } from './connections.ts';
import { type Detected, detect, detectUndecided } from './detect.ts';
import { plainAddress } from './outbound.ts';
import { peek } from './peek.ts';

/** How requests and connections to the own app are served, as `stack.ts` composes it. */
export interface InboundStages {
  http(app: AppAddress): ExchangeStages;
  opaque(app: AppAddress): OpaqueStages;
}

/** Where the app listens, and the client's address where the app is to see it as the connection's source. */
export interface AppAddress extends Meant {
  readonly from?: string;
}

/** One port of the pod as peers dial it, and where the app behind it listens. */
export interface InboundTarget {
  /** The container port that policies speak of; undefined: the port the peer dialled. */
  readonly containerPort: number | undefined;
  /** Undefined: the address the peer dialled, called from the peer's own. */
  readonly app: Meant | undefined;
}

type First = Detected | 'mesh';

const CONFIG_POLL_MS = 20;
const TLS_HANDSHAKE = 22;

/**
 * The peers' side of one port. Only a TLS hello with the mesh's marker is terminated; what else may come in is for the
 * port's mode to say: STRICT takes mesh mTLS alone, PERMISSIVE everything, DISABLE looks at no TLS at all.
 */
export class InboundListener {
  readonly #context: StackContext;
  readonly #streams: OpenStreams;
  readonly #stages: InboundStages;
  readonly #target: InboundTarget;
  readonly #tls: MeshTlsServer;
  readonly #unsubscribe: () => void;

  constructor(context: StackContext, streams: OpenStreams, stages: InboundStages, target: InboundTarget) {
    this.#context = context;
    this.#streams = streams;
    this.#stages = stages;
    this.#target = target;
    const { identity, clock } = context.deps;
    this.#tls = new MeshTlsServer({
      handshakeMs: context.limits.handshakeMs,
      wallMs: () => clock.wallMs(),
      trustDomain: () => this.#settings().trustDomain,
      onPeer: ({ stream, peer, protocol }) => this.#onPeer(stream, peer, protocol),
      onRefused: (message) => this.#countRefused(message),
    });
    const current = identity.current();
    if (current !== undefined) this.#tls.use(current);
    this.#unsubscribe = identity.onChange((credentials) => this.#tls.use(credentials));
  }

  close(): void {
    this.#unsubscribe();
  }

  accept(stream: ByteStream): void {
    const { telemetry } = this.#context.deps;
    const kept = this.#streams.add(stream, () => telemetry.connection('inbound', 'closed'));
    stream.on('error', destroyStream);
    if (!kept) {
      resetStream(stream);
      return;
    }
    telemetry.connection('inbound', 'opened');
    if (this.#target.app === undefined && isControlPort(stream.localPort ?? 0)) {
      // Handing it on would dial this listener again, or let a peer control the sidecar.
      resetStream(stream);
      return;
    }
    const config = this.#context.deps.config.inbound();
    if (config !== undefined) this.#admit(stream, config);
    else this.#awaitConfig(stream);
  }

  /** Without configuration nothing is let in: whether plaintext may pass isn't known. */
  #awaitConfig(stream: ByteStream): void {
    const { deadlines, deps, limits } = this.#context;
    const giveUpMs = deadlines.now() + limits.configWaitMs;
    stream.pause();
    const poll = new Deadline(() => {
      if (stream.destroyed) return;
      const config = deps.config.inbound();
      if (config !== undefined) this.#admit(stream, config);
      else if (deadlines.now() >= giveUpMs) resetStream(stream);
      else deadlines.arm(poll, CONFIG_POLL_MS);
    });
    deadlines.arm(poll, CONFIG_POLL_MS);
  }

  #admit(stream: ByteStream, config: InboundConfig): void {
    const port = this.#target.containerPort ?? stream.localPort ?? 0;
    const known = config.ports.find((candidate) => candidate.port === port);
    const mode = known?.mode ?? config.defaultMode;
    const protocol = known?.protocol ?? 'auto';
    if (mode === 'DISABLE') {
      this.#plain(stream, protocol, undefined);
      return;
    }
    const { deadlines, limits } = this.#context;
    peek<First>(
      stream,
      deadlines,
      {
        timeoutMs: this.#patience(mode, protocol),
        // A hello is two packets; one that is lost on the way comes later than the app would be left to speak first.
        extraMs: (bytes) => (bytes[0] === TLS_HANDSHAKE ? limits.helloReadMs : 0),
        bytesMax: limits.helloBytesMax,
        judge: helloJudge(),
        undecided: (bytes) => (bytes.length === 0 ? 'silent' : 'opaque'),
      },
      (first, ended) => this.#decided(stream, mode, protocol, first, ended),
    );
  }

  /**
   * How long silence is waited for. A mesh client speaks at once, a client of an HTTP port before its server does, if not
   * soon; elsewhere under PERMISSIVE it may be the app who speaks first.
   */
  #patience(mode: MtlsMode, protocol: AppProtocol): number {
    const { limits } = this.#context;
    if (mode === 'STRICT') return limits.helloReadMs;
    return protocol === 'http' ? limits.keepAliveIdleMs : this.#settings().detectionTimeoutMs;
  }

  #decided(
    stream: ByteStream,
    mode: MtlsMode,
    protocol: AppProtocol,
    first: First,
    ended: Buffer | undefined,
  ): void {
    const { telemetry } = this.#context.deps;
    if (first === 'mesh') {
      this.#terminate(stream);
      return;
    }
    if (mode === 'STRICT') {
      this.#countRefused('STRICT takes mesh mTLS only');
      resetStream(stream);
      return;
    }
    if (first === 'silent' && protocol === 'http') {
      stream.destroy();
      return;
    }
    telemetry.connection('inbound', first === 'tls' ? 'opaque' : 'plaintext');
    if (first === 'tls') this.#relay(stream, ended);
    else if (first === 'silent') this.#relay(stream, ended, protocol);
    else this.#plain(stream, protocol, ended);
  }

  /** Bytes that no TLS of ours wraps, by declared protocol or by what they are. */
  #plain(stream: ByteStream, protocol: AppProtocol, ended: Buffer | undefined): void {
    if (protocol === 'http' && ended === undefined) {
      this.#serve(stream, undefined);
      return;
    }
    if (protocol === 'tcp' || protocol === 'tls' || ended !== undefined) {
      this.#relay(stream, ended);
      return;
    }
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
      (detected, rest) => {
        if (detected === 'http1') this.#serve(stream, undefined);
        else this.#relay(stream, rest, detected === 'silent' ? protocol : undefined);
      },
    );
  }

  #terminate(stream: ByteStream): void {
    if (this.#tls.ready) this.#tls.accept(stream);
    else resetStream(stream);
  }

  #onPeer(stream: ByteStream, peer: string, protocol: string): void {
    this.#context.deps.telemetry.connection('inbound', 'tls');
    stream.on('error', destroyStream);
    if (protocol === ALPN.http1) this.#serve(stream, peer);
    else this.#relay(stream, undefined);
  }

  #serve(stream: ByteStream, peer: string | undefined): void {
    const { limits, deadlines } = this.#context;
    const client = { remoteAddress: plainAddress(stream.remoteAddress), peer };
    this.#streams.serveHttp(stream, client, this.#stages.http(this.#app(stream)), limits, deadlines);
  }

  /** `silent`: the protocol of the port, where the client has said nothing yet. */
  #relay(stream: ByteStream, first: Buffer | undefined, silent?: AppProtocol): void {
    this.#streams.decided(stream);
    const { helloReadMs } = this.#context.limits;
    const declared = silent === 'tcp' || silent === 'tls';
    const late = {
      judge: declared ? helloJudge() : lateJudge(),
      undecided: declared ? () => 'opaque' as const : detectUndecided,
      begunMs: (bytes: Buffer) =>
        bytes[0] === TLS_HANDSHAKE ? helloReadMs : this.#settings().detectionTimeoutMs,
      take: (verdict: First) => {
        if (verdict === 'mesh') this.#terminate(stream);
        else if (verdict === 'http1') this.#serve(stream, undefined);
        return verdict === 'mesh' || verdict === 'http1';
      },
    };
    const stages = this.#stages.opaque(this.#app(stream));
    new OpaqueRelay(this.#context, stages, stream, first, silent && late).start();
  }

  #app(stream: ByteStream): AppAddress {
    if (this.#target.app !== undefined) return this.#target.app;
    const host = plainAddress(stream.localAddress);
    return { host, port: stream.localPort ?? 0, from: plainAddress(stream.remoteAddress) };
  }

  #settings() {
    return this.#context.deps.config.inbound()?.settings ?? DEFAULT_SIDECAR_SETTINGS;
  }

  #countRefused(message: string): void {
    const { telemetry, log } = this.#context.deps;
    telemetry.connection('inbound', 'refused-mtls');
    log.debug('a connection was refused', { reason: 'mtls-required', message });
  }
}

/** One look at a hello that is coming goes through all of it, so looks are spared where they can't tell more. */
function helloJudge(): (bytes: Buffer) => First | undefined {
  let enough = 0;
  return (bytes) => {
    if (bytes.length < enough) return undefined;
    const verdict = readClientHello(bytes);
    switch (verdict) {
      case 'mesh':
        return 'mesh';
      case 'foreign':
        return 'tls';
      case 'invalid':
        return 'opaque';
      default:
        enough = verdict;
        return undefined;
    }
  };
}

/** A client that was silent at first may be anything still: mesh, the app's own TLS, HTTP, or opaque. */
function lateJudge(): (bytes: Buffer) => First | undefined {
  const judgeHello = helloJudge();
  return (bytes) => (bytes[0] === TLS_HANDSHAKE ? judgeHello(bytes) : detect(bytes));
}

function destroyStream(this: ByteStream): void {
  this.destroy();
}
