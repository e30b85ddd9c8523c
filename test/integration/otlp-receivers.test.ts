import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import grpc from '@grpc/grpc-js';
import { systemClock } from '../../common/clock.ts';
import {
  ExportTraceServiceResponse,
  TraceServiceService,
} from '../../common/gen/opentelemetry/proto/collector/trace/v1/trace_service.ts';
import { silentLogger } from '../../common/log.ts';
import { type OtlpReceivers, startOtlpReceivers } from '../../control-plane/traces/receivers.ts';
import { openTraceStore, type TraceStore } from '../../control-plane/traces/store.ts';
import { leakCheck } from '../support/leak-check.ts';

leakCheck();

const EXPORT_BYTES_MAX = 64 * 1024;
let store: TraceStore;
let receivers: OtlpReceivers;

before(async () => {
  const limits = { exportBytesMax: EXPORT_BYTES_MAX, spansPerExportMax: 5 };
  store = openTraceStore({ path: ':memory:', clock: systemClock, log: silentLogger, limits });
  receivers = await startOtlpReceivers({
    store,
    listen: '127.0.0.1',
    grpcPort: 0,
    httpPort: 0,
    log: silentLogger,
  });
});

after(async () => {
  await receivers.close();
  store.close();
});

/** An export of one span a trace id (hexadecimal), in protobuf. */
function protobuf(...traceIds: string[]): Buffer {
  const startNs = BigInt(Date.now()) * 1_000_000n;
  const writer = new BinaryWriter().uint32(10).fork();
  writer.uint32(10).fork().uint32(10).fork().uint32(10).string('service.name').uint32(18).fork();
  writer.uint32(10).string('shop').join().join().join();
  writer.uint32(18).fork();
  for (const id of traceIds) {
    writer.uint32(18).fork().uint32(10).bytes(Buffer.from(id, 'hex'));
    writer.uint32(18).bytes(Buffer.from('00000000000000ff', 'hex')).uint32(42).string('GET /');
    writer
      .uint32(57)
      .fixed64(startNs.toString())
      .uint32(65)
      .fixed64((startNs + 1_500_000n).toString())
      .join();
  }
  return Buffer.from(writer.join().join().finish());
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

function post(body: Buffer | string, headers: Record<string, string>, path = '/v1/traces'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { port: receivers.httpPort, path, method: 'POST', headers, agent: false };
    const request = http.request({ host: '127.0.0.1', ...options }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) });
    });
    request.on('error', reject);
    request.end(body);
  });
}

const PROTOBUF = { 'content-type': 'application/x-protobuf' };
const JSON_TYPE = { 'content-type': 'application/json' };

test('a span sent in protobuf over HTTP, gzipped or not, is kept to the microsecond', async () => {
  for (const [id, gzip] of [
    ['11'.repeat(16), false],
    ['12'.repeat(16), true],
  ] as const) {
    const body = protobuf(id);
    const headers = gzip ? { ...PROTOBUF, 'content-encoding': 'gzip' } : PROTOBUF;
    assert.equal((await post(gzip ? gzipSync(body) : body, headers)).status, 200);
    const [span] = store.trace(id);
    assert.equal(span?.service, 'shop');
    assert.equal(span?.durationUs, 1500);
  }
});

test('a span without a valid id is refused alone, and the sender is told', async () => {
  const answer = await post(protobuf('00'.repeat(16), '21'.repeat(16)), PROTOBUF);
  const { partialSuccess } = ExportTraceServiceResponse.decode(answer.body);
  assert.equal(answer.status, 200);
  assert.equal(partialSuccess?.rejectedSpans, 1);
  assert.match(partialSuccess?.errorMessage ?? '', /invalid trace id/);
  assert.equal(store.trace('21'.repeat(16)).length, 1);
});

test('spans past the number an export may have are refused', async () => {
  const ids = Array.from({ length: 7 }, (_, index) => `3${index}`.repeat(16));
  const answer = await post(protobuf(...ids), PROTOBUF);
  assert.equal(ExportTraceServiceResponse.decode(answer.body).partialSuccess?.rejectedSpans, 2);
});

test('JSON is taken with ids in hexadecimal and 64-bit numbers as text', async () => {
  const span = {
    traceId: '41'.repeat(16),
    spanId: '42'.repeat(8),
    name: 'x',
    startTimeUnixNano: '1700000000123456789',
  };
  const body = JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] });
  const answer = await post(body, JSON_TYPE);
  assert.deepEqual([answer.status, answer.body.toString()], [200, '{}']);
  assert.equal(store.trace(span.traceId)[0]?.startUs, 1_700_000_000_123_456);
});

test('a decompression bomb, a large body, a wrong type and rubbish each get their status', async () => {
  const bomb = gzipSync(Buffer.alloc(EXPORT_BYTES_MAX * 50));
  const gzip = { 'content-encoding': 'gzip' };
  assert.equal((await post(bomb, { ...PROTOBUF, ...gzip })).status, 413);
  assert.equal((await post(Buffer.alloc(EXPORT_BYTES_MAX + 1), PROTOBUF)).status, 413);
  // In chunks, so that only the bytes themselves tell how large it is.
  assert.equal(
    (await post(Buffer.alloc(EXPORT_BYTES_MAX + 1), { ...PROTOBUF, 'transfer-encoding': 'chunked' })).status,
    413,
  );
  assert.equal((await post('x', { 'content-type': 'text/plain' })).status, 415);
  assert.equal((await post('{"resourceSpans":3}', JSON_TYPE)).status, 400);
  assert.equal((await post(Buffer.from([0x0a, 0xff, 0x01]), PROTOBUF)).status, 400);
  assert.equal((await post('no gzip', { ...PROTOBUF, ...gzip })).status, 400);
  assert.equal((await post('', PROTOBUF, '/v1/metrics')).status, 404);
});

function exportOverGrpc(bytes: Buffer): Promise<grpc.ServiceError | ExportTraceServiceResponse> {
  const client = new grpc.Client(`127.0.0.1:${receivers.grpcPort}`, grpc.credentials.createInsecure());
  const { path, responseDeserialize } = TraceServiceService.export;
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      (body: Buffer) => body,
      responseDeserialize,
      bytes,
      (error, response) => {
        client.close();
        if (error !== null) resolve(error);
        else if (response !== undefined) resolve(response);
      },
    );
  });
}

test('a span sent over gRPC is kept', async () => {
  assert.ok('partialSuccess' in (await exportOverGrpc(protobuf('51'.repeat(16)))));
  assert.equal(store.trace('51'.repeat(16)).length, 1);
});

test('malformed and oversized gRPC exports are refused with their codes', async () => {
  const codeOf = async (bytes: Buffer) => {
    const result = await exportOverGrpc(bytes);
    return 'code' in result ? result.code : undefined;
  };
  assert.equal(await codeOf(Buffer.from([0x0a, 0xff, 0x01])), grpc.status.INVALID_ARGUMENT);
  assert.equal(await codeOf(Buffer.alloc(EXPORT_BYTES_MAX + 1)), grpc.status.RESOURCE_EXHAUSTED);
});
