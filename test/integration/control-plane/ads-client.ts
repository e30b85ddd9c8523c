import { type ClientDuplexStream, Metadata, type StatusObject } from '@grpc/grpc-js';
import { CHANNEL_OPTIONS, controlPlaneCredentials } from '../../../common/ca/control-plane-tls.ts';
import { AggregatedDiscoveryServiceClient } from '../../../common/gen/envoy/service/discovery/v3/ads.ts';
import {
  DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from '../../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { eventually } from '../../support/wait.ts';
import type { PodCredentials } from './credentials.ts';

type DeltaRequest = Parameters<typeof DeltaDiscoveryRequest.fromPartial>[0];

export interface AdsOptions {
  readonly port: number;
  readonly rootsPem: string;
  /** Undefined: no client certificate. */
  readonly own?: Pick<PodCredentials, 'certificateChainPem' | 'privateKeyPem'>;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** One delta stream over the wire, driven by hand. */
export class AdsClient {
  readonly responses: DeltaDiscoveryResponse[] = [];
  #status: Pick<StatusObject, 'code' | 'details'> | undefined;
  readonly #client: AggregatedDiscoveryServiceClient;
  readonly #call: ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

  constructor({ port, rootsPem, own, metadata }: AdsOptions) {
    this.#client = new AggregatedDiscoveryServiceClient(
      `127.0.0.1:${port}`,
      controlPlaneCredentials('cluster.local', rootsPem, own),
      CHANNEL_OPTIONS,
    );
    const headers = new Metadata();
    for (const [name, value] of Object.entries(metadata ?? {})) headers.set(name, value);
    this.#call = this.#client.deltaAggregatedResources(headers);
    this.#call.on('data', (response: DeltaDiscoveryResponse) => this.responses.push(response));
    this.#call.on('error', (error: Pick<StatusObject, 'code' | 'details'>) => {
      this.#status = { code: error.code, details: error.details };
    });
    this.#call.on('status', (status: StatusObject) => {
      this.#status ??= { code: status.code, details: status.details };
    });
  }

  request(request: DeltaRequest): void {
    this.#call.write(DeltaDiscoveryRequest.fromPartial(request));
  }

  /** Names the node and subscribes. */
  hello(nodeId: string, typeUrl: string, ...names: string[]): void {
    this.request({ node: { id: nodeId }, typeUrl, resourceNamesSubscribe: names });
  }

  /** What the stream ended with; undefined while it is open. */
  status(): Pick<StatusObject, 'code' | 'details'> | undefined {
    return this.#status;
  }

  /** The next responses, once there are so many in all. */
  async received(count: number): Promise<readonly DeltaDiscoveryResponse[]> {
    await eventually(
      () => {
        if (this.#status !== undefined) throw new Error(`the stream ended: ${this.#status.details}`);
        return this.responses.length >= count;
      },
      { deadlineMs: 10_000, what: `${count} responses` },
    );
    return this.responses;
  }

  async ended(): Promise<Pick<StatusObject, 'code' | 'details'>> {
    await eventually(() => this.#status !== undefined, { deadlineMs: 10_000, what: 'the stream ends' });
    return this.#status ?? { code: 0, details: '' };
  }

  close(): void {
    this.#call.on('error', () => undefined);
    this.#call.cancel();
    this.#client.close();
  }
}

export function nodeIdOf(pod: {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
}): string {
  return `sidecar~${pod.ip}~${pod.name}.${pod.namespace}~${pod.namespace}.svc.cluster.local`;
}
