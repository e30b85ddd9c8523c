import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { controlPlaneIdentity } from '../../../common/ca/control-plane-tls.ts';
import { AggregatedDiscoveryServiceService } from '../../../common/gen/envoy/service/discovery/v3/ads.ts';
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryResponse,
} from '../../../common/gen/envoy/service/discovery/v3/discovery.ts';
import {
  type IstioCertificateRequest,
  type IstioCertificateResponse,
  IstioCertificateServiceService,
} from '../../../common/gen/istio/v1/auth/ca.ts';
import type { EncodedResource } from '../../../control-plane/translate/encoding.ts';
import { eventually } from '../../support/wait.ts';
import type { TestCa } from '../engine/ca.ts';

type SignCall = ServerUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;
type Call = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

/** One stream as the server has it: it says only what the test has it say. */
export class ScriptedStream {
  readonly requests: DeltaDiscoveryRequest[] = [];
  /** The certificate that the client came with, DER. */
  readonly peer: Buffer | undefined;
  readonly #call: Call;
  #nonce = 0;
  ended = false;

  constructor(call: Call, reads: boolean) {
    this.#call = call;
    this.peer = call.getAuthContext().sslPeerCertificate?.raw;
    if (reads) call.on('data', (request: DeltaDiscoveryRequest) => this.requests.push(request));
    for (const event of ['cancelled', 'close', 'error', 'end']) {
      call.on(event, () => {
        this.ended = true;
      });
    }
  }

  /** Begins to read, where it didn't from the start. */
  read(): void {
    this.#call.on('data', (request: DeltaDiscoveryRequest) => this.requests.push(request));
  }

  send(typeUrl: string, resources: readonly EncodedResource[], removed: readonly string[] = []): string {
    const nonce = String(++this.#nonce);
    this.#call.write(
      DeltaDiscoveryResponse.fromPartial({
        ...{ typeUrl, nonce, removedResources: [...removed] },
        resources: resources.map(({ name, aliases, version, body }) => ({
          ...{ name, version, aliases: [...aliases] },
          resource: body,
        })),
      }),
    );
    return nonce;
  }

  /** The answer to a nonce, once it is there. */
  async answer(nonce: string): Promise<DeltaDiscoveryRequest> {
    const find = () => this.requests.find(({ responseNonce }) => responseNonce === nonce);
    await eventually(() => find() !== undefined, { deadlineMs: 5_000, what: `an answer to nonce ${nonce}` });
    return find() as DeltaDiscoveryRequest;
  }

  /** What was subscribed to of a type, all requests together. */
  asked(typeUrl: string): readonly string[] {
    return this.requests
      .filter((request) => request.typeUrl === typeUrl)
      .flatMap((request) => request.resourceNamesSubscribe);
  }

  end(): void {
    this.#call.end();
  }
}

export interface AdsServer {
  readonly address: string;
  readonly streams: readonly ScriptedStream[];
  /** The n-th stream, from 0, once it has come. */
  stream(index: number): Promise<ScriptedStream>;
  close(): Promise<void>;
}

/** What the CA behind the same port answers to a CSR: a chain, or an error with a gRPC status. */
export type SignCsr = (csrPem: string, token: string) => Promise<readonly string[]>;

interface AdsServerOptions {
  readonly tls: ServerCredentials;
  readonly signCsr?: SignCsr;
  /** 0: any free one. */
  readonly port?: number;
  /** False: streams are opened, and nothing is read from them. */
  readonly reads?: boolean;
}

/** TLS of a server that asks for a client certificate; it says it is the control plane unless told otherwise. */
export function serverTls(ca: TestCa, identity = controlPlaneIdentity('cluster.local')): ServerCredentials {
  const { certificateChainPem, privateKeyPem } = ca.issue(identity);
  const pair = { cert_chain: Buffer.from(certificateChainPem), private_key: Buffer.from(privateKeyPem) };
  return ServerCredentials.createSsl(Buffer.from(ca.rootPem), [pair], true);
}

/** A discovery service, and a CA where it is given what to sign with, on a port of 127.0.0.1. */
export async function startAdsServer(options: AdsServerOptions): Promise<AdsServer> {
  const { tls, signCsr, port = 0, reads = true } = options;
  const streams: ScriptedStream[] = [];
  const server = new Server();
  server.addService(AggregatedDiscoveryServiceService, {
    deltaAggregatedResources: (call: Call) => streams.push(new ScriptedStream(call, reads)),
    streamAggregatedResources: (call: { end(): void }) => call.end(),
  });
  if (signCsr !== undefined) {
    server.addService(IstioCertificateServiceService, {
      createCertificate: (call: SignCall, callback: sendUnaryData<IstioCertificateResponse>) => {
        signCsr(call.request.csr, String(call.metadata.get('authorization')[0])).then(
          (certChain) => callback(null, { certChain: [...certChain] }),
          (thrown: Error) => callback(thrown),
        );
      },
    });
  }
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, tls, (error, found) =>
      error === null ? resolve(found) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${bound}`,
    streams,
    async stream(index) {
      await eventually(() => streams.length > index, { deadlineMs: 5_000, what: `stream ${index} has come` });
      return streams[index] as ScriptedStream;
    },
    async close() {
      server.forceShutdown();
      await Promise.resolve();
    },
  };
}
