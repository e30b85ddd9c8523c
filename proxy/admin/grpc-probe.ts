import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { Client, credentials } from '@grpc/grpc-js';

/** grpc.health.v1: the method, and `HealthCheckResponse.ServingStatus`. */
const CHECK = '/grpc.health.v1.Health/Check';
const SERVING = 1;
const STATUS_NAMES: readonly string[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
const STRING_FIELD_1 = 10;
const VARINT_FIELD_1 = 8;

/** Asks the gRPC health protocol. Undefined where the service is SERVING, otherwise what it said. */
export async function grpcProbe(
  address: string,
  service: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.primary_user_agent': 'kube-probe/heddle',
    // The app is asked itself, whatever proxy the environment names.
    'grpc.enable_http_proxy': 0,
  });
  try {
    const status = await new Promise<number>((resolve, reject) => {
      const call = client.makeUnaryRequest(CHECK, encodeRequest, decodeStatus, service, (error, value) => {
        if (signal.aborted) reject(signal.reason);
        else if (error !== null) reject(new Error(`the app's health service: ${error.details}`));
        else resolve(value ?? 0);
      });
      signal.addEventListener('abort', () => call.cancel());
    });
    return status === SERVING ? undefined : `the app says ${STATUS_NAMES[status] ?? `status ${status}`}`;
  } finally {
    client.close();
  }
}

function encodeRequest(service: string): Buffer {
  const writer = new BinaryWriter();
  if (service !== '') writer.uint32(STRING_FIELD_1).string(service);
  return Buffer.from(writer.finish());
}

function decodeStatus(bytes: Buffer): number {
  const reader = new BinaryReader(bytes);
  let status = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === VARINT_FIELD_1) status = reader.int32();
    else reader.skip(tag & 7);
  }
  return status;
}
