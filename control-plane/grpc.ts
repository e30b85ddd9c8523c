import grpc from '@grpc/grpc-js';
import { HeddleError } from '../common/errors.ts';
import {
  type AggregatedDiscoveryServiceServer,
  AggregatedDiscoveryServiceService,
} from '../common/gen/envoy/service/discovery/v3/ads.ts';
import {
  type IstioCertificateServiceServer,
  IstioCertificateServiceService,
} from '../common/gen/istio/v1/auth/ca.ts';
import { destinationKey } from '../common/names.ts';
import { SIBLING_SERVICE, type SiblingService } from './traces/sibling-service.ts';
import { DEFAULT_XDS_LIMITS } from './xds/limits.ts';

/** Streams that one connection may hold: a proxy needs two, a gRPC client with several channels a few more. */
const STREAMS_PER_CONNECTION_MAX = 64;

export interface GrpcOptions {
  /** IP address to bind. */
  readonly listen: string;
  /** 0: any free one. */
  readonly port: number;
  readonly credentials: grpc.ServerCredentials;
  readonly ca: IstioCertificateServiceServer;
  readonly xds: AggregatedDiscoveryServiceServer;
  /** For other replicas; undefined: there can be none. */
  readonly traces?: SiblingService | undefined;
}

export interface GrpcServer {
  readonly port: number;
  close(): void;
}

/** Serves certificates and xDS on one port, and traces to other replicas. Rejects where it can't be bound. */
export async function startGrpc(options: GrpcOptions): Promise<GrpcServer> {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': DEFAULT_XDS_LIMITS.requestBytesMax,
    'grpc.max_concurrent_streams': STREAMS_PER_CONNECTION_MAX,
    // Proxies behind a silent network are noticed, and their streams freed.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    // Nobody asks for gRPC's own counts of every connection.
    'grpc.enable_channelz': 0,
    // Nobody holds a connection that carries nothing.
    'grpc.max_connection_idle_ms': 60_000,
  });
  server.addService(IstioCertificateServiceService, { ...options.ca });
  server.addService(AggregatedDiscoveryServiceService, { ...options.xds });
  if (options.traces !== undefined) server.addService(SIBLING_SERVICE, { ...options.traces });
  const port = await new Promise<number>((resolve, reject) => {
    const address = destinationKey(options.listen, options.port);
    server.bindAsync(address, options.credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new HeddleError('listen', `xDS can't listen on ${address}: ${error.message}`));
    });
  });
  return { port, close: () => server.forceShutdown() };
}
