import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { messageOf } from '../../common/errors.ts';
import { ExportTraceServiceResponse } from '../../common/gen/opentelemetry/proto/collector/trace/v1/trace_service.ts';
import type { Logger } from '../../common/log.ts';
import { readBody } from '../http-body.ts';
import { storeExport } from './export.ts';
import { decodeJsonExport } from './otlp-json.ts';
import { decodeProtobufExport } from './otlp-protobuf.ts';
import type { TraceStore } from './store.ts';

/** An answer other than success, as the OTLP specification wants it: a `Status` in the request's own encoding. */
class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

type Encoding = 'json' | 'protobuf';

const unzip = promisify(gunzip);

function encodingOf(request: IncomingMessage): Encoding {
  const type = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type === 'application/json') return 'json';
  if (type === 'application/x-protobuf') return 'protobuf';
  throw new Refusal(415, 'content-type must be application/x-protobuf or application/json');
}

async function readExport(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const body = await readBody(request, bytesMax);
  if (body === undefined) throw new Refusal(413, `an export may have ${bytesMax} bytes`);
  return body;
}

async function decompress(request: IncomingMessage, body: Buffer, bytesMax: number): Promise<Buffer> {
  const coding = request.headers['content-encoding']?.trim().toLowerCase() ?? 'identity';
  if (coding === 'identity') return body;
  if (coding !== 'gzip') throw new Refusal(415, 'content-encoding must be gzip or identity');
  try {
    return (await unzip(body, { maxOutputLength: bytesMax })) as Buffer;
  } catch (error) {
    const tooLarge = error instanceof RangeError;
    throw new Refusal(
      tooLarge ? 413 : 400,
      tooLarge ? `an export may have ${bytesMax} bytes after decompression` : `gzip: ${messageOf(error)}`,
    );
  }
}

/** `google.rpc.Status` with a message alone: field 2, length-delimited. */
function statusMessage(message: string): Buffer {
  // A length up to 127 is one byte of a varint.
  const text = Buffer.from(message).subarray(0, 127);
  return Buffer.concat([Buffer.from([0x12, text.length]), text]);
}

function answer(response: ServerResponse, status: number, encoding: Encoding, body: Buffer | string): void {
  response.writeHead(status, {
    'content-type': encoding === 'json' ? 'application/json' : 'application/x-protobuf',
    'content-length': Buffer.byteLength(body),
    ...(status === 413 ? { connection: 'close' } : {}),
  });
  response.end(body);
}

async function receive(request: IncomingMessage, store: TraceStore): Promise<[Encoding, Buffer | string]> {
  if (request.url?.split('?', 1)[0] !== '/v1/traces')
    throw new Refusal(404, 'traces are taken at /v1/traces');
  if (request.method !== 'POST') throw new Refusal(405, 'exports are sent with POST');
  const encoding = encodingOf(request);
  const { exportBytesMax } = store.limits;
  const body = await decompress(request, await readExport(request, exportBytesMax), exportBytesMax);
  let partialSuccess: ReturnType<typeof storeExport>;
  try {
    const decoded =
      encoding === 'json'
        ? decodeJsonExport(body.toString('utf8'), store.limits)
        : decodeProtobufExport(body, store.limits);
    partialSuccess = storeExport(store, decoded);
  } catch (error) {
    throw new Refusal(400, `malformed export: ${messageOf(error)}`);
  }
  const reply =
    encoding === 'json'
      ? JSON.stringify(partialSuccess === undefined ? {} : { partialSuccess: jsonPartial(partialSuccess) })
      : Buffer.from(ExportTraceServiceResponse.encode({ partialSuccess }).finish());
  return [encoding, reply];
}

/** Protobuf's JSON writes 64-bit integers as text. */
function jsonPartial(partial: { rejectedSpans: number; errorMessage: string }) {
  return { rejectedSpans: String(partial.rejectedSpans), errorMessage: partial.errorMessage };
}

/** OTLP over HTTP at `/v1/traces` (OTLP specification 1.x, "OTLP/HTTP"). The caller listens and closes. */
export function createHttpReceiver(store: TraceStore, log: Logger): http.Server {
  const server = http.createServer({ requestTimeout: store.limits.httpRequestMs }, (request, response) => {
    receive(request, store).then(
      ([encoding, body]) => answer(response, 200, encoding, body),
      (error: unknown) => {
        const json = request.headers['content-type']?.startsWith('application/json') === true;
        const status = error instanceof Refusal ? error.status : 500;
        if (status === 500) log.warn('an export failed', { why: messageOf(error) });
        const message = messageOf(error);
        answer(
          response,
          status,
          json ? 'json' : 'protobuf',
          json ? JSON.stringify({ message }) : statusMessage(message),
        );
      },
    );
  });
  server.maxConnections = store.limits.httpConnectionsMax;
  return server;
}
