import type { ClientDuplexStream } from '@grpc/grpc-js';
import { backoffMs } from '../../common/backoff.ts';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from '../../common/ca/control-plane-tls.ts';
import type { Clock, Timer } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import { AggregatedDiscoveryServiceClient } from '../../common/gen/envoy/service/discovery/v3/ads.ts';
import {
  type DeepPartial,
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { Credentials } from '../stage.ts';
import type { ConfigStore, Wish } from './config-store.ts';
import type { ConfigLimits } from './limits.ts';

export interface AdsOptions {
  /** host:port. */
  readonly controlPlane: string;
  readonly nodeId: string;
  readonly trustDomain: string;
  readonly credentials: () => Credentials | undefined;
  readonly store: ConfigStore;
  readonly limits: ConfigLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** How the stream stands, for the admin page. */
export interface AdsStatus {
  readonly connected: boolean;
  /** Milliseconds since the Unix epoch, of the last response. */
  readonly lastResponseAtMs: number | undefined;
  readonly lastRefusal: string | undefined;
  readonly reconnects: number;
}

type Call = ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

interface OpenStream {
  readonly client: AggregatedDiscoveryServiceClient;
  readonly call: Call;
  /** When the control plane answered first: it took the node in. By the monotonic clock. */
  answeredAtMs: number | undefined;
  /** Gives up waiting for the first answer, later sends a refusal that is held back. */
  readonly timers: Set<Timer>;
}

const ADS_INVALID_ARGUMENT = 3;

/** Keeps one delta stream to the control plane, and starts over with jitter where it breaks. */
export class AdsStream {
  readonly #options: AdsOptions;
  #open: OpenStream | undefined;
  #timer: Timer | undefined;
  #failures = 0;
  #reconnects = 0;
  #lastResponseAtMs: number | undefined;
  #lastRefusal: string | undefined;
  #closed = false;

  constructor(options: AdsOptions) {
    this.#options = options;
  }

  /** Opens the stream, or opens it anew where there is one: with the certificate of now. */
  connect(): void {
    const credentials = this.#options.credentials();
    if (this.#closed || credentials === undefined) return;
    this.#timer?.cancel();
    this.#drop();
    try {
      this.#open = this.#dial(credentials);
    } catch (thrown) {
      this.#again(messageOf(thrown));
      return;
    }
    const { nodeId, store } = this.#options;
    let node: { id: string; userAgentName: string } | undefined = { id: nodeId, userAgentName: 'heddle' };
    for (const wish of store.resubscription()) {
      this.#send(this.#open.call, wish, node);
      node = undefined;
    }
  }

  #dial(credentials: Credentials): OpenStream {
    const { controlPlane, trustDomain, clock, limits } = this.#options;
    const client = new AggregatedDiscoveryServiceClient(
      controlPlane,
      controlPlaneCredentials(trustDomain, credentials.trustBundlePem, credentials),
      CHANNEL_OPTIONS,
    );
    const call = client.deltaAggregatedResources();
    const silence = clock.after(
      limits.answerWaitMs,
      () => this.#lost(open, `the control plane has not answered for ${limits.answerWaitMs} ms`),
      { background: true },
    );
    const open: OpenStream = { client, call, answeredAtMs: undefined, timers: new Set([silence]) };
    call.on('data', (response: DeltaDiscoveryResponse) => this.#receive(open, response));
    call.on('error', (error) => this.#lost(open, error.message));
    call.on('end', () => this.#lost(open, 'the control plane ended the stream'));
    call.on('drain', () => {
      if (this.#open === open) this.sendWishes();
    });
    return open;
  }

  /**
   * Sends what the store wants to have changed. Without a stream it goes with the next one; while the control plane
   * doesn't read, wishes come together in the store instead of piling up here.
   */
  sendWishes(): void {
    const open = this.#open;
    if (open === undefined || open.call.writableNeedDrain) return;
    for (const wish of this.#options.store.wishes()) this.#send(open.call, wish, undefined);
  }

  connected(): boolean {
    return this.#open?.answeredAtMs !== undefined;
  }

  status(): AdsStatus {
    return {
      connected: this.connected(),
      lastResponseAtMs: this.#lastResponseAtMs,
      lastRefusal: this.#lastRefusal,
      reconnects: this.#reconnects,
    };
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#drop();
  }

  #receive(open: OpenStream, response: DeltaDiscoveryResponse): void {
    if (this.#open !== open) return;
    const { clock, store, log } = this.#options;
    if (open.answeredAtMs === undefined) {
      open.answeredAtMs = clock.now();
      cancelAll(open.timers);
    }
    this.#lastResponseAtMs = clock.wallMs();
    const refusal = store.receive(response);
    const answer = { typeUrl: response.typeUrl, responseNonce: response.nonce };
    if (refusal === undefined) {
      open.call.write(DeltaDiscoveryRequest.fromPartial(answer));
      return;
    }
    const refused = { ...answer, errorDetail: { code: ADS_INVALID_ARGUMENT, message: refusal } };
    if (refusal === this.#lastRefusal) {
      this.#holdBack(open, refused);
      return;
    }
    this.#lastRefusal = refusal;
    log.warn('configuration refused', { reason: refusal });
    open.call.write(DeltaDiscoveryRequest.fromPartial(refused));
  }

  /** The same refusal again: there is nothing new in it, for the log or for the control plane. */
  #holdBack(open: OpenStream, refused: DeepPartial<DeltaDiscoveryRequest>): void {
    const { clock, limits } = this.#options;
    const timer = clock.after(
      limits.refusalPauseMs,
      () => {
        open.timers.delete(timer);
        open.call.write(DeltaDiscoveryRequest.fromPartial(refused));
      },
      { background: true },
    );
    open.timers.add(timer);
  }

  #send(call: Call, wish: Wish, node: { id: string; userAgentName: string } | undefined): void {
    call.write(
      DeltaDiscoveryRequest.fromPartial({
        ...(node === undefined ? {} : { node }),
        typeUrl: wish.type,
        resourceNamesSubscribe: [...wish.subscribe],
        resourceNamesUnsubscribe: [...wish.unsubscribe],
        initialResourceVersions: { ...wish.versions },
      }),
    );
  }

  #lost(open: OpenStream, reason: string): void {
    if (this.#open !== open || this.#closed) return;
    const { clock, limits } = this.#options;
    // A control plane that answers and then breaks off, over and over, is as far away as one that doesn't answer.
    const stoodMs = open.answeredAtMs === undefined ? 0 : clock.now() - open.answeredAtMs;
    if (stoodMs >= limits.reconnect.maxMs) this.#failures = 0;
    this.#drop();
    this.#again(reason);
  }

  #again(reason: string): void {
    const { clock, random, limits, log } = this.#options;
    const delayMs = backoffMs(limits.reconnect, this.#failures, random);
    this.#failures++;
    this.#reconnects++;
    log.warn('control plane lost, the configuration stays in force', {
      reason,
      retryMs: Math.round(delayMs),
    });
    this.#timer = clock.after(delayMs, () => this.connect(), { background: true });
  }

  #drop(): void {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) return;
    cancelAll(open.timers);
    open.call.cancel();
    open.client.close();
  }
}

function cancelAll(timers: Set<Timer>): void {
  for (const timer of timers) timer.cancel();
  timers.clear();
}
