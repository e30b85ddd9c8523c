import grpc from '@grpc/grpc-js';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { TraceServiceService } from '../../common/gen/opentelemetry/proto/collector/trace/v1/trace_service.ts';
import { destinationKey } from '../../common/names.ts';
import { storeExport } from './export.ts';
import { decodeProtobufExport } from './otlp-protobuf.ts';
import type { OtlpReceiverOptions } from './receivers.ts';

/** The generated service with its request left as bytes: decoding is ours, so that a bad export is its sender's error. */
const SERVICE = {
  export: {
    ...TraceServiceService.export,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
  },
};

/** OTLP over gRPC. Messages beyond `exportBytesMax`, compressed or not, are refused with RESOURCE_EXHAUSTED. */
export async function startGrpcReceiver(
  options: OtlpReceiverOptions,
): Promise<{ readonly port: number; close(): void }> {
  const { store } = options;
  const server = new grpc.Server({
    'grpc.max_receive_message_length': store.limits.exportBytesMax,
    'grpc.max_concurrent_streams': 64,
  });
  server.addService(SERVICE, {
    export(call: grpc.ServerUnaryCall<Buffer, unknown>, callback: grpc.sendUnaryData<unknown>) {
      try {
        const decoded = decodeProtobufExport(call.request, store.limits);
        callback(null, { partialSuccess: storeExport(store, decoded) });
      } catch (error) {
        const details = `malformed export: ${messageOf(error)}`;
        callback({ code: grpc.status.INVALID_ARGUMENT, details });
      }
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    const address = destinationKey(options.listen, options.grpcPort);
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new HeddleError('otlp-listen', `OTLP/gRPC can't listen on ${address}`, { cause: error }));
    });
  });
  return { port, close: () => server.forceShutdown() };
}
