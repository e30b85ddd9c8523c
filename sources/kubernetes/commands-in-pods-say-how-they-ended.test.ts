import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { beforeEach, test } from 'node:test';
import { HeddleError } from '../../common/errors.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { VirtualClock } from '../../test/support/virtual-clock.ts';
import { CommandFailed, execThrough, STDERR_BYTES_MAX } from './exec.ts';
import { DIAL_TIMEOUT_MS, KEEPALIVE_MS } from './pod-stream.ts';

leakCheck();

const COMMAND = { namespace: 'heddle-system', pod: 'p', container: 'agent', command: ['/bin/x', '--a b'] };
const [STDIN, STDOUT, STDERR, STATUS] = [0, 1, 2, 3];

let clock: VirtualClock;
let asked: string[];
let sent: Buffer[];
let calls: string[];
let says: (channel: number, text: string) => void;
let pong: () => void;
let socket: { onclose: (() => void) | null };
beforeEach(() => {
  clock = new VirtualClock();
  [asked, sent, calls] = [[], [], []];
});

function started(begin: () => void = () => undefined): Promise<Duplex> {
  return execThrough(async (path, onMessage) => {
    asked.push(path);
    says = (channel, text) => onMessage(channel, Buffer.from(text));
    socket = { onclose: null };
    const call = (name: string) => () => void calls.push(name);
    begin();
    return Object.assign(socket, {
      ...{
        readyState: 1,
        bufferedAmount: 0,
        ping: call('ping'),
        pause: call('pause'),
        resume: () => undefined,
      },
      ...{ close: call('close'), terminate: call('terminate') },
      send: (data: Uint8Array) => void sent.push(Buffer.from(data)),
      on: (_: 'pong', listener: () => void) => {
        pong = listener;
      },
    });
  }, clock)(COMMAND);
}

function failureOf(stream: Duplex): Promise<HeddleError> {
  return once(stream, 'error').then(([thrown]) => thrown as HeddleError);
}

const failed = (code: number) =>
  JSON.stringify({
    ...{ kind: 'Status', status: 'Failure', reason: 'NonZeroExitCode', message: `exit code ${code}` },
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  });

test('a command is asked for word by word, and has what is written as its input', async () => {
  const stream = await started();
  assert.deepEqual(asked, [
    '/api/v1/namespaces/heddle-system/pods/p/exec?container=agent&stdin=true&stdout=true&stderr=true&command=%2Fbin%2Fx&command=--a+b',
  ]);
  stream.write('hello');
  assert.deepEqual(sent, [Buffer.concat([Buffer.of(STDIN ?? 0), Buffer.from('hello')])]);
  stream.destroy();
  assert.deepEqual(calls, ['terminate']);
});

test('its output is what is read, until it ends well', async () => {
  const stream = await started();
  for (const channel of [STDOUT, STDERR, STATUS]) says(channel ?? 0, '');
  says(STDOUT ?? 1, 'one ');
  says(STDERR ?? 2, 'a warning');
  says(STDOUT ?? 1, 'two');
  says(STATUS ?? 3, JSON.stringify({ kind: 'Status', status: 'Success' }));
  let text = '';
  for await (const part of stream) text += String(part);
  assert.equal(text, 'one two');
});

test('one that fails tells its exit code and the beginning of what it said', async () => {
  const stream = await started();
  const failing = failureOf(stream);
  says(STDERR ?? 2, 'no such socket\n');
  for (let part = 0; part < 10; part++) says(STDERR ?? 2, 'x'.repeat(STDERR_BYTES_MAX));
  says(STATUS ?? 3, failed(3));
  const failure = await failing;
  assert.ok(failure instanceof CommandFailed);
  assert.equal(failure.exitCode, 3);
  assert.match(failure.said, /^no such socket\nx+$/);
  assert.ok(failure.said.length <= STDERR_BYTES_MAX);
});

const STARTS: readonly (readonly [string, string, RegExp])[] = [
  ['a Status', JSON.stringify({ status: 'Failure', message: 'container not found' }), /container not found/],
  ['text', 'exec failed: no runtime', /exec failed: no runtime/],
];
for (const [what, status, message] of STARTS)
  test(`one that can not be started tells why, told as ${what}`, async () => {
    const early = started(() => says(STATUS ?? 3, status));
    await assert.rejects(early, (thrown: unknown) => {
      assert.ok(thrown instanceof CommandFailed);
      assert.equal(thrown.exitCode, undefined);
      return message.test(thrown.said);
    });
  });

const REFUSALS: readonly (readonly [string, string, RegExp])[] = [
  ['401', 'exec-forbidden', /right to get and create pods\/exec in namespace heddle-system/],
  ['403', 'exec-forbidden', /right to get and create pods\/exec in namespace heddle-system/],
  ['404', 'exec-gone', /pod heddle-system\/p is gone/],
  ['500', 'exec', /answers 500/],
];
for (const [status, code, message] of REFUSALS)
  test(`a refusal with ${status} has the code ${code} and says what it means`, async () => {
    const refusing = execThrough(
      () => Promise.reject(new Error(`Unexpected server response: ${status}`)),
      clock,
    )(COMMAND);
    await assert.rejects(refusing, (thrown: unknown) => {
      assert.ok(thrown instanceof HeddleError);
      assert.equal(thrown.code, code);
      return message.test(thrown.message);
    });
  });

test('an API server that says nothing is given up', async () => {
  const waiting = assert.rejects(execThrough(() => new Promise(() => undefined), clock)(COMMAND), {
    code: 'kubernetes-unreachable',
  });
  await clock.advance(DIAL_TIMEOUT_MS);
  await waiting;
});

test('a silent connection is asked for a sign of life, and given up without one', async () => {
  const stream = await started();
  const failing = failureOf(stream);
  for (let round = 0; round < 5; round++) {
    await clock.advance(KEEPALIVE_MS);
    pong();
  }
  assert.equal(stream.destroyed, false);
  assert.equal(calls.filter((name) => name === 'ping').length, 5);
  await clock.advance(2 * KEEPALIVE_MS);
  assert.match((await failing).message, /silent for 60 s/);
  assert.equal(calls.at(-1), 'terminate');
});

test('what is held up by its reader is not taken for silent', async () => {
  const stream = await started();
  says(STDOUT ?? 1, 'x'.repeat(stream.readableHighWaterMark));
  assert.ok(calls.includes('pause'));
  await clock.advance(5 * KEEPALIVE_MS);
  assert.equal(stream.destroyed, false);
  stream.destroy();
});

test('a goodbye that the server does not answer is waited for no longer than a second', async () => {
  const stream = await started();
  stream.end();
  await clock.advance(0);
  assert.deepEqual(calls, ['close']);
  await clock.advance(1_000);
  assert.deepEqual(calls, ['close', 'terminate']);
  stream.destroy();
});
