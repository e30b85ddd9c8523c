import type { AddressInfo } from 'node:net';
import type { Logger } from '../../common/log.ts';
import { startGrpcReceiver } from './otlp-grpc.ts';
import { createHttpReceiver } from './otlp-http.ts';
import type { TraceStore } from './store.ts';

export interface OtlpReceiverOptions {
  readonly store: TraceStore;
  /** IP address to bind. */
  readonly listen: string;
  /** 0: any free one. */
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly log: Logger;
}

export interface OtlpReceivers {
  readonly grpcPort: number;
  readonly httpPort: number;
  close(): Promise<void>;
}

/** Starts both OTLP receivers. Rejects where a port can't be bound; nothing is left listening then. */
export async function startOtlpReceivers(options: OtlpReceiverOptions): Promise<OtlpReceivers> {
  const grpc = await startGrpcReceiver(options);
  const http = createHttpReceiver(options.store, options.log);
  try {
    await new Promise<void>((resolve, reject) => {
      http.once('error', reject);
      http.listen(options.httpPort, options.listen, resolve);
    });
  } catch (error) {
    grpc.close();
    throw error;
  }
  return {
    grpcPort: grpc.port,
    httpPort: (http.address() as AddressInfo).port,
    async close() {
      grpc.close();
      http.closeAllConnections();
      await new Promise<void>((resolve) => http.close(() => resolve()));
    },
  };
}
