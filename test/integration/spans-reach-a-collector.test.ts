import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { systemClock } from '../../common/clock.ts';
import { jsonLogger, silentLogger } from '../../common/log.ts';
import { type OtlpReceivers, startOtlpReceivers } from '../../control-plane/traces/receivers.ts';
import { openTraceStore, type TraceStore } from '../../control-plane/traces/store.ts';
import { closeTimeoutMs, createSdkSink, queueSpansMax } from '../../proxy/telemetry/sdk-sink.ts';
import { createSpanExport, type SpanExportOptions } from '../../proxy/telemetry/span-export.ts';
import type { SpanRecord } from '../../proxy/telemetry/span-record.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

let store: TraceStore;
let receivers: OtlpReceivers;

before(async () => {
  store = openTraceStore({ path: ':memory:', clock: systemClock, log: silentLogger });
  receivers = await startOtlpReceivers({
    ...{ store, listen: '127.0.0.1', grpcPort: 0, httpPort: 0, log: silentLogger },
  });
});

after(async () => {
  await receivers.close();
  store.close();
});

function setup(port: number) {
  const lines: string[] = [];
  const dropped = new Map<string, number>();
  const options: SpanExportOptions = {
    endpoint: `127.0.0.1:${port}`,
    serviceName: 'web',
    resource: { 'k8s.pod.name': 'web-1' },
    log: jsonLogger(systemClock, (line) => lines.push(line)),
    clock: systemClock,
    onDropped: (why, count) => dropped.set(why, (dropped.get(why) ?? 0) + count),
  };
  return { options, lines, dropped };
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');

function span(trace: number, id: number, part: Partial<SpanRecord> = {}): SpanRecord {
  const startMs = systemClock.wallMs();
  return {
    ...{ traceId: hex(trace, 32), spanId: hex(id, 16), parentId: undefined, parentRemote: false },
    ...{ traceState: undefined, kind: 'client', name: 'GET catalog', startMs, endMs: startMs + 12 },
    ...{ attributes: { 'http.response.status_code': 200 }, error: undefined },
    ...part,
  };
}

/** A port of loopback where nobody listens. */
async function closedPort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

test('spans arrive with the ids that went upstream, and close sends what is left', async () => {
  const { options } = setup(receivers.grpcPort);
  const sink = createSpanExport(options);
  sink.export([
    span(1, 10, { kind: 'server', parentId: hex(9, 16), parentRemote: true, error: 'status 500' }),
    span(1, 11, { parentId: hex(10, 16), name: 'attempt 1', traceState: 'vendor=1' }),
  ]);
  await sink.close();
  store.flush();
  const [server, attempt] = store.trace(hex(1, 32)).toSorted((a, b) => (a.spanId < b.spanId ? -1 : 1));
  assert.deepEqual(
    [server?.service, server?.spanId, server?.parentId, server?.kind, server?.status, server?.statusMessage],
    ['web', hex(10, 16), hex(9, 16), 2, 2, 'status 500'],
  );
  assert.deepEqual(
    [attempt?.parentId, attempt?.operation, attempt?.kind, attempt?.durationUs, attempt?.traceState],
    [hex(10, 16), 'attempt 1', 3, 12_000, 'vendor=1'],
  );
  assert.ok(server?.processTags.some((tag) => tag.key === 'k8s.pod.name' && tag.value === 'web-1'));
});

test('a collector that is away costs spans, not requests; it is told once, and again when it is back', async () => {
  const port = await closedPort();
  const { options, lines, dropped } = setup(port);
  const sink = createSdkSink(options);
  sink.export([span(2, 20)]);
  await eventually(() => (dropped.get('not-sent') ?? 0) === 1, {
    deadlineMs: 15_000,
    what: 'the span that could not be sent is counted',
  });
  assert.equal(lines.filter((line) => line.includes('takes no spans')).length, 1);
  const back = await startOtlpReceivers({
    ...{ store, listen: '127.0.0.1', grpcPort: port, httpPort: 0, log: silentLogger },
  });
  try {
    let id = 100;
    await eventually(
      () => {
        sink.export([span(3, id++)]);
        return lines.some((line) => line.includes('takes spans again'));
      },
      { deadlineMs: 30_000, what: 'the collector that came back is used' },
    );
  } finally {
    await sink.close();
    await back.close();
  }
});

test('the queue is bounded: what does not fit is dropped and counted', async () => {
  // Accepts connections and says nothing: whatever is sent stays on its way.
  const sockets = new Set<net.Socket>();
  const mute = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  const address = mute.address();
  const { options, dropped } = setup(typeof address === 'object' && address !== null ? address.port : 0);
  const sink = createSdkSink(options);
  for (let id = 1; id <= queueSpansMax + 50; id++) sink.export([span(4, id)]);
  assert.equal(dropped.get('queue-full'), 50);
  const startedMs = performance.now();
  await sink.close();
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs < closeTimeoutMs + 1_000, `closing took ${Math.round(tookMs)} ms`);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => mute.close(resolve));
});
