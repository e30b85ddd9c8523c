import type { PeerCertificate } from 'node:tls';
import { type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Clock, Timer } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { Node } from '../../common/gen/envoy/config/core/v3/base.ts';
import type { Logger } from '../../common/log.ts';
import type { Changes } from '../translate/changes.ts';
import type { ClientView, Translation } from '../translate/translator.ts';
import type { ProxyInfo } from '../view.ts';
import { type AdmittedNode, admit } from './admission.ts';
import type { XdsLimits } from './limits.ts';
import { DeliveryTracker } from './tracker.ts';

export interface Session<Request, Response> {
  request(request: Request): boolean;
  /** Whether anything may be due that wasn't before these changes. */
  isTouched(changes: Changes, namespace: string, view: ClientView): boolean;
  collect(view: ClientView): Response[];
}

export interface StreamOptions {
  readonly translation: () => Translation;
  readonly limits: XdsLimits;
  readonly clock: Clock;
  readonly log: Logger;
  /** After a proxy came, went, acknowledged or refused. */
  readonly onProxies: () => void;
}

export interface StreamParts<Request, Response> {
  readonly call: ServerDuplexStream<Request, Response>;
  /** Verified by TLS. */
  readonly peer: PeerCertificate;
  readonly protocol: ProxyInfo['protocol'];
  readonly makeSession: (tracker: DeliveryTracker) => Session<Request, Response>;
  readonly onAdmitted: (pod: string) => void;
  readonly onEnd: (pod: string | undefined) => void;
}

/** A timer reaches no further than 24.8 days. */
const TIMER_MAX_MS = 24 * 3_600_000;

/** Ends a call with an error. */
export function fail(call: { emit(event: 'error', error: object): boolean }, code: status, details: string) {
  call.emit('error', { code, details });
}

/**
 * One client's stream: waits for the first request, admits the node, then lets its session answer, for as long as the
 * client's certificate lasts. It writes only while the transport takes bytes and the client answers: meanwhile changes pile
 * up as one difference, not as a queue.
 */
export class Stream<Request extends { node?: Node | undefined }, Response> {
  readonly #parts: StreamParts<Request, Response>;
  readonly #options: StreamOptions;
  /** Until it is taken in. */
  #first: Request | undefined;
  #node: Node | undefined;
  #session: Session<Request, Response> | undefined;
  tracker: DeliveryTracker | undefined;
  #waitsFor = 'the first request did not come in time';
  #deadline: Timer;
  #blocked = false;
  #dirty = false;
  #scheduled = false;
  #ended = false;

  constructor(parts: StreamParts<Request, Response>, options: StreamOptions) {
    this.#parts = parts;
    this.#options = options;
    const { call } = parts;
    const { clock, limits } = options;
    this.#deadline = clock.after(
      limits.admissionWaitMs,
      () => this.refuse(status.PERMISSION_DENIED, this.#waitsFor),
      { background: true },
    );
    call.on('data', (request: Request) => this.#receive(request));
    call.on('drain', () => {
      this.#blocked = false;
      this.#wake();
    });
    call.on('end', () => this.end());
    call.on('cancelled', () => this.#close());
    call.on('close', () => this.#close());
    call.on('error', () => this.#close());
  }

  /**
   * A new mesh is in force, which differs from the one before so: it may have what this client waits for, and it may have
   * no place for it any more.
   */
  changed(changes: Changes): void {
    const session = this.#session;
    const client = this.tracker?.node.client;
    if (session === undefined || client === undefined) {
      this.#admit();
      return;
    }
    const admission = this.#admission();
    if (admission.kind === 'refused') this.refuse(status.PERMISSION_DENIED, admission.reason);
    else if (!this.#dirty && this.#isTouched(session, changes, client)) this.#due();
  }

  #isTouched(session: Session<Request, Response>, changes: Changes, client: AdmittedNode['client']): boolean {
    try {
      return session.isTouched(changes, client.namespace, this.#options.translation().view(client));
    } catch {
      // A resource that can't be made: the comparison will meet it again, and end this stream alone.
      return true;
    }
  }

  end(): void {
    if (!this.#ended) this.#parts.call.end();
    this.#close();
  }

  refuse(code: status, details: string): void {
    if (this.#ended) return;
    this.#options.log.warn('xDS stream refused', { node: this.tracker?.node.nodeId, reason: details });
    this.#close();
    fail(this.#parts.call, code, details);
  }

  #close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#deadline.cancel();
    this.#first = undefined;
    const node = this.tracker?.node;
    this.#parts.onEnd(node === undefined ? undefined : podOf(node.client));
    if (node === undefined) return;
    this.#options.log.info('proxy disconnected', { node: node.nodeId });
    this.#options.onProxies();
  }

  #receive(request: Request): void {
    if (this.#ended) return;
    if (this.#session === undefined) {
      this.#first = request;
      this.#node = request.node;
      this.#admit();
    } else {
      this.#take(this.#session, request);
    }
  }

  #take(session: Session<Request, Response>, request: Request): void {
    try {
      if (session.request(request)) this.#due();
      else this.#wake();
      this.#options.onProxies();
    } catch (thrown) {
      const code = thrown instanceof HeddleError ? status.RESOURCE_EXHAUSTED : status.INTERNAL;
      this.refuse(code, messageOf(thrown));
    }
  }

  #admission() {
    const { clock, translation } = this.#options;
    return admit(this.#node, this.#parts.peer, translation().mesh, clock.wallMs());
  }

  #admit(): void {
    const first = this.#first;
    if (first === undefined || this.#ended) return;
    const admission = this.#admission();
    const { call, protocol, makeSession, onAdmitted } = this.#parts;
    const { clock, log } = this.#options;
    if (admission.kind === 'refused') {
      this.refuse(status.PERMISSION_DENIED, admission.reason);
      return;
    }
    if (admission.kind === 'unknown-pod') {
      // Nothing more is read meanwhile, so that nothing has to be kept.
      this.#waitsFor = admission.reason;
      call.pause();
      return;
    }
    const { node, expiresAtMs } = admission;
    this.tracker = new DeliveryTracker(node, protocol, clock);
    const session = makeSession(this.tracker);
    this.#session = session;
    this.#first = undefined;
    this.#endAtExpiry(expiresAtMs);
    log.info('proxy connected', { node: node.nodeId, identity: node.identity });
    onAdmitted(podOf(node.client));
    this.#take(session, first);
    call.resume();
  }

  /** What let the client in ends with its certificate. */
  #endAtExpiry(expiresAtMs: number): void {
    const { clock } = this.#options;
    this.#deadline.cancel();
    const leftMs = expiresAtMs - clock.wallMs();
    if (leftMs <= 0) {
      this.refuse(status.UNAUTHENTICATED, 'the client certificate has expired: connect with a new one');
      return;
    }
    const next = () => this.#endAtExpiry(expiresAtMs);
    this.#deadline = clock.after(Math.min(leftMs, TIMER_MAX_MS), next, { background: true });
  }

  /** A comparison is due. */
  #due(): void {
    this.#dirty = true;
    this.#wake();
  }

  /** Gathers what one event-loop turn brings into one comparison. */
  #wake(): void {
    if (!this.#dirty || this.#scheduled || this.#blocked || this.#ended) return;
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
    const { responsesUnansweredMax, bytesUnansweredMax } = this.#options.limits;
    if (tracker.unanswered >= responsesUnansweredMax || tracker.unansweredBytes >= bytesUnansweredMax) return;
    this.#dirty = false;
    try {
      const responses = this.#session.collect(this.#options.translation().view(tracker.node.client));
      for (const response of responses) {
        if (!this.#parts.call.write(response)) this.#blocked = true;
      }
      if (responses.length > 0) this.#options.onProxies();
    } catch (thrown) {
      this.#options.log.error('xDS resources could not be made', {
        node: tracker.node.nodeId,
        reason: messageOf(thrown),
      });
      this.refuse(status.INTERNAL, 'the resources could not be made');
    }
  }
}

function podOf(client: { readonly namespace: string; readonly pod: string }): string {
  return `${client.namespace}/${client.pod}`;
}
