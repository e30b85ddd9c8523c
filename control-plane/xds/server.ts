import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Clock, Timer } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Node } from '../../common/gen/envoy/config/core/v3/base.ts';
import type { AggregatedDiscoveryServiceServer } from '../../common/gen/envoy/service/discovery/v3/ads.ts';
import type { Logger } from '../../common/log.ts';
import type { ClientView, Translation } from '../translate/translator.ts';
import type { ProxyInfo } from '../view.ts';
import { admit } from './admission.ts';
import { DeltaSession } from './delta.ts';
import type { XdsLimits } from './limits.ts';
import { StateOfTheWorldSession } from './state-of-the-world.ts';
import { DeliveryTracker } from './tracker.ts';

export interface XdsServerOptions {
  readonly translation: () => Translation;
  readonly limits: XdsLimits;
  readonly clock: Clock;
  readonly log: Logger;
  /** After a proxy came, went, acknowledged or refused. */
  readonly onProxies: () => void;
}

export interface XdsServer {
  readonly service: AggregatedDiscoveryServiceServer;
  /** To be called once a new translation is in force: pushes what changed to whom it concerns. */
  changed(): void;
  trackers(): readonly DeliveryTracker[];
  close(): void;
}

interface Session<Request, Response> {
  request(request: Request): void;
  collect(view: ClientView): Response[];
}

interface OpenStream {
  changed(): void;
  end(): void;
  readonly tracker: DeliveryTracker | undefined;
}

/** The aggregated discovery service. It holds streams; sessions hold what each of them knows. */
export function xdsServer(options: XdsServerOptions): XdsServer {
  const streams = new Set<OpenStream>();
  const accept = <Request extends { node?: Node | undefined }, Response>(
    call: ServerDuplexStream<Request, Response>,
    protocol: ProxyInfo['protocol'],
    makeSession: (tracker: DeliveryTracker) => Session<Request, Response>,
  ) => {
    if (streams.size >= options.limits.streamsMax) {
      fail(call, status.RESOURCE_EXHAUSTED, `more than ${options.limits.streamsMax} streams`);
      return;
    }
    const stream = new Stream(call, protocol, makeSession, options, () => streams.delete(stream));
    streams.add(stream);
  };
  return {
    service: {
      deltaAggregatedResources: (call) =>
        accept(call, 'delta', (tracker) => new DeltaSession(tracker, options.limits)),
      streamAggregatedResources: (call) =>
        accept(call, 'state-of-the-world', (tracker) => new StateOfTheWorldSession(tracker, options.limits)),
    },
    changed() {
      for (const stream of streams) stream.changed();
    },
    trackers: () => [...streams].flatMap(({ tracker }) => (tracker === undefined ? [] : [tracker])),
    close() {
      for (const stream of streams) stream.end();
    },
  };
}

function fail(call: { emit(event: 'error', error: object): boolean }, code: status, details: string): void {
  call.emit('error', { code, details });
}

/**
 * One client's stream: waits for the first request, admits the node, then lets its session answer. It writes only while
 * the transport takes bytes: meanwhile changes pile up as one difference, not as a queue.
 */
class Stream<Request extends { node?: Node | undefined }, Response> implements OpenStream {
  readonly #call: ServerDuplexStream<Request, Response>;
  readonly #protocol: ProxyInfo['protocol'];
  readonly #makeSession: (tracker: DeliveryTracker) => Session<Request, Response>;
  readonly #options: XdsServerOptions;
  readonly #onEnd: () => void;
  #session: Session<Request, Response> | undefined;
  tracker: DeliveryTracker | undefined;
  /** Requests that came before the node was admitted. */
  #early: Request[] = [];
  #deadline: Timer | undefined;
  #blocked = false;
  #dirty = false;
  #scheduled = false;
  #ended = false;

  constructor(
    call: ServerDuplexStream<Request, Response>,
    protocol: ProxyInfo['protocol'],
    makeSession: (tracker: DeliveryTracker) => Session<Request, Response>,
    options: XdsServerOptions,
    onEnd: () => void,
  ) {
    this.#call = call;
    this.#protocol = protocol;
    this.#makeSession = makeSession;
    this.#options = options;
    this.#onEnd = onEnd;
    call.on('data', (request: Request) => this.#receive(request));
    call.on('drain', () => {
      this.#blocked = false;
      this.#schedule();
    });
    call.on('end', () => this.end());
    call.on('cancelled', () => this.#close());
    call.on('close', () => this.#close());
    call.on('error', () => this.#close());
  }

  changed(): void {
    if (this.#session === undefined) this.#admit();
    this.#schedule();
  }

  end(): void {
    if (!this.#ended) this.#call.end();
    this.#close();
  }

  #close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#deadline?.cancel();
    this.#onEnd();
    if (this.tracker !== undefined) {
      this.#options.log.info('proxy disconnected', { node: this.tracker.node.nodeId });
      this.#options.onProxies();
    }
  }

  #refuse(code: status, details: string): void {
    if (this.#ended) return;
    this.#options.log.warn('xDS stream refused', { reason: details });
    this.#close();
    fail(this.#call, code, details);
  }

  #receive(request: Request): void {
    if (this.#ended) return;
    try {
      if (this.#session !== undefined) {
        this.#session.request(request);
        this.#schedule();
        this.#options.onProxies();
        return;
      }
      this.#early.push(request);
      if (this.#early.length > this.#options.limits.responsesUnansweredMax) {
        throw new HeddleError('limit', 'too many requests before the node was admitted');
      }
      if (this.#early.length === 1) this.#admit();
    } catch (thrown) {
      const code = thrown instanceof HeddleError ? status.RESOURCE_EXHAUSTED : status.INTERNAL;
      this.#refuse(code, messageOf(thrown));
    }
  }

  #admit(): void {
    const [first] = this.#early;
    if (first === undefined || this.#ended) return;
    const { clock, limits, log } = this.#options;
    const peer = this.#call.getAuthContext().sslPeerCertificate;
    const admission = admit(first.node, peer, this.#options.translation().mesh);
    if (admission.kind === 'refused') {
      this.#refuse(status.PERMISSION_DENIED, admission.reason);
      return;
    }
    if (admission.kind === 'unknown-pod') {
      this.#deadline ??= clock.after(
        limits.admissionWaitMs,
        () => this.#refuse(status.PERMISSION_DENIED, admission.reason),
        { background: true },
      );
      return;
    }
    this.#deadline?.cancel();
    this.tracker = new DeliveryTracker(admission.node, this.#protocol, clock);
    this.#session = this.#makeSession(this.tracker);
    log.info('proxy connected', { node: admission.node.nodeId, identity: admission.node.identity });
    const early = this.#early;
    this.#early = [];
    for (const request of early) this.#receive(request);
  }

  /** Gathers what one event-loop turn brings into one comparison. */
  #schedule(): void {
    this.#dirty = true;
    if (this.#scheduled || this.#blocked || this.#ended) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    const { tracker } = this;
    if (this.#session === undefined || tracker === undefined || !this.#dirty || this.#blocked || this.#ended)
      return;
    if (tracker.unanswered >= this.#options.limits.responsesUnansweredMax) return;
    this.#dirty = false;
    try {
      const responses = this.#session.collect(this.#options.translation().view(tracker.node.client));
      for (const response of responses) {
        if (!this.#call.write(response)) this.#blocked = true;
      }
      if (responses.length > 0) this.#options.onProxies();
    } catch (thrown) {
      this.#options.log.error('xDS resources could not be made', {
        node: tracker.node.nodeId,
        reason: messageOf(thrown),
      });
      this.#refuse(status.INTERNAL, 'the resources could not be made');
    }
  }
}
