import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DEFAULT_TRACE_LIMITS } from '../../control-plane/traces/limits.ts';
import {
  questionsPendingMax,
  startTraceThread,
  type TraceThread,
} from '../../control-plane/traces/thread.ts';
import { leakCheck } from '../support/leak-check.ts';
import { eventually } from '../support/wait.ts';

leakCheck();

const PROGRAM = fileURLToPath(new URL('../../control-plane/main.ts', import.meta.url));
let directory: string;

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'heddle-test-'));
});

after(() => rmSync(directory, { recursive: true, force: true }));

function start(file: string, httpPort = 0): Promise<TraceThread> {
  return startTraceThread({
    ...{ program: PROGRAM, path: join(directory, file), listen: '127.0.0.1', grpcPort: 0, httpPort },
    ...{ diskBytesMax: DEFAULT_TRACE_LIMITS.diskBytesMax, logLevel: 'error' },
    onFailure: (thrown) => assert.fail(thrown),
  });
}

async function send(thread: TraceThread, traceId: string): Promise<void> {
  const span = {
    traceId,
    spanId: 'ab'.repeat(8),
    name: 'GET /',
    startTimeUnixNano: String(Date.now() * 1e6),
  };
  const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'web' } }] };
  const answer = await fetch(`http://127.0.0.1:${thread.httpPort}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ spans: [span] }] }] }),
  });
  assert.equal(answer.status, 200);
  await answer.arrayBuffer();
}

test('spans taken in by the thread are read through it, and told of', async () => {
  const thread = await start('read.db');
  let told = 0;
  thread.reader.onChange(() => told++);
  await send(thread, '11'.repeat(16));
  assert.deepEqual(await thread.reader.services(), ['web']);
  assert.equal((await thread.reader.find({ limit: 10 })).length, 1);
  assert.equal((await thread.reader.traces(['11'.repeat(16)]))[0]?.[0]?.operation, 'GET /');
  assert.deepEqual(await thread.reader.operations('web'), [{ name: 'GET /', spanKind: '' }]);
  await eventually(() => told > 0 && thread.reader.counters().stored === 1, {
    deadlineMs: 5_000,
    what: 'the thread tells of the new span',
  });
  await thread.close();
});

test('closing writes what is queued, and the next thread finds it', async () => {
  const first = await start('kept.db');
  await send(first, '22'.repeat(16));
  await first.close();
  await assert.rejects(first.reader.services(), /closed/);
  const second = await start('kept.db');
  assert.equal((await second.reader.traces(['22'.repeat(16)]))[0]?.length, 1);
  await second.close();
});

test('more questions than may wait are refused, and the others answered', async () => {
  const thread = await start('asked.db');
  const asked = Array.from({ length: questionsPendingMax + 5 }, () => thread.reader.services());
  const settled = await Promise.allSettled(asked);
  assert.equal(settled.filter(({ status }) => status === 'rejected').length, 5);
  assert.deepEqual(await thread.reader.services(), []);
  await thread.close();
});

test('a taken port is said, and the thread is gone', async () => {
  const taken = net.createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  await assert.rejects(start('taken.db', (taken.address() as AddressInfo).port), /EADDRINUSE/);
  await new Promise((resolve) => taken.close(resolve));
});
