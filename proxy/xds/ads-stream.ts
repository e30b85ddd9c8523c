import type { ClientDuplexStream } from '@grpc/grpc-js';
import { backoffMs } from '../../common/backoff.ts';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from '../../common/ca/control-plane-tls.ts';
import type { Clock, Timer } from '../../common/clock.ts';
import { AggregatedDiscoveryServiceClient } from '../../common/gen/envoy/service/discovery/v3/ads.ts';
import {
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { ResourceType } from '../../common/wire/types.ts';
import type { Credentials } from '../stage.ts';
import type { ConfigStore } from './config-store.ts';
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
  /** Whether the control plane has answered: it took the node in. */
  answered: boolean;
}

const ADS_INVALID_ARGUMENT = 3;
const REFUSAL_LENGTH_MAX = 4096;

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
    const { controlPlane, trustDomain, nodeId } = this.#options;
    const client = new AggregatedDiscoveryServiceClient(
      controlPlane,
      controlPlaneCredentials(trustDomain, credentials.trustBundlePem, credentials),
      CHANNEL_OPTIONS,
    );
    const call = client.deltaAggregatedResources();
    const open: OpenStream = { client, call, answered: false };
    this.#open = open;
    call.on('data', (response: DeltaDiscoveryResponse) => this.#receive(open, response));
    call.on('error', (error) => this.#lost(open, error.message));
    call.on('end', () => this.#lost(open, 'the control plane ended the stream'));
    const [first, ...others] = this.#options.store.resubscription();
    for (const { type, subscribe, versions } of first === undefined ? [] : [first, ...others]) {
      call.write(
        DeltaDiscoveryRequest.fromPartial({
          ...(type === first?.type ? { node: { id: nodeId, userAgentName: 'heddle' } } : {}),
          typeUrl: type,
          resourceNamesSubscribe: subscribe,
          initialResourceVersions: versions,
        }),
      );
    }
  }

  /** Sends what the store wants to have changed. Without a stream it goes with the next one. */
  sendWishes(): void {
    if (this.#open === undefined) return;
    for (const { type, subscribe, unsubscribe } of this.#options.store.wishes()) {
      this.#request(this.#open.call, type, {
        resourceNamesSubscribe: [...subscribe],
        resourceNamesUnsubscribe: [...unsubscribe],
      });
    }
  }

  connected(): boolean {
    return this.#open?.answered === true;
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
    open.answered = true;
    this.#failures = 0;
    this.#lastResponseAtMs = this.#options.clock.wallMs();
    const refusal = this.#options.store.receive(response);
    if (refusal !== undefined) {
      this.#lastRefusal = refusal;
      this.#options.log.warn('configuration refused', { reason: refusal });
    }
    this.#request(open.call, response.typeUrl, {
      responseNonce: response.nonce,
      ...(refusal === undefined
        ? {}
        : { errorDetail: { code: ADS_INVALID_ARGUMENT, message: refusal.slice(0, REFUSAL_LENGTH_MAX) } }),
    });
  }

  #request(
    call: Call,
    typeUrl: ResourceType | string,
    fields: Parameters<typeof DeltaDiscoveryRequest.fromPartial>[0],
  ): void {
    call.write(DeltaDiscoveryRequest.fromPartial({ typeUrl, ...fields }));
  }

  #lost(open: OpenStream, reason: string): void {
    if (this.#open !== open || this.#closed) return;
    this.#drop();
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
    open?.call.cancel();
    open?.client.close();
  }
}
