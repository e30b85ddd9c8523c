import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { MemoryNetwork } from '../../test/support/memory-net.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import { ProbeLoop, type ProbeResult, probeTimings, runProbe } from './probes.ts';

leakCheck();

const IP = '127.244.0.1';

/** A probe against a world in memory; the clock moves on until it is decided. */
async function probed(
  probe: JsonValue,
  handler?: http.RequestListener,
  exec: (command: readonly string[]) => Promise<number> = async () => 0,
): Promise<ProbeResult> {
  const clock = new VirtualClock();
  const network = new MemoryNetwork();
  const server = http.createServer(handler);
  const listener = network.listen(IP, 8080, (stream) => {
    if (handler !== undefined) server.emit('connection', stream);
  });
  const target = {
    podIp: IP,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    exec: (command: readonly string[]) => exec(command),
  };
  let result: ProbeResult | undefined;
  void runProbe(clock, network.dialer, probe, target).then((decided) => {
    result = decided;
  });
  for (let turn = 0; turn < 20 && result === undefined; turn++) await settle();
  if (result === undefined) await clock.advance(60_000);
  listener.close();
  server.closeAllConnections();
  assert.ok(result !== undefined, 'the probe never ended');
  return result;
}

test('an HTTP probe takes 200 to 399 for health and says what else came', async () => {
  const answers = (status: number) => (_request: http.IncomingMessage, response: http.ServerResponse) => {
    response.writeHead(status).end();
  };
  const probe = { httpGet: { path: '/healthz', port: 'http' } };
  assert.equal((await probed(probe, answers(200))).ok, true);
  assert.equal((await probed(probe, answers(302))).ok, true);
  const failed = await probed(probe, answers(503));
  assert.deepEqual(failed, { ok: false, message: `GET http://${IP}:8080/healthz answered 503` });
});

test('an HTTP probe sends its headers', async () => {
  let seen: http.IncomingHttpHeaders = {};
  const probe = { httpGet: { port: 8080, httpHeaders: [{ name: 'X-Probe', value: 'yes' }] } };
  await probed(probe, (request, response) => {
    seen = request.headers;
    response.end();
  });
  assert.equal(seen['x-probe'], 'yes');
  assert.equal(seen['user-agent'], 'kube-probe/heddle');
  assert.equal(seen.host, `${IP}:8080`);
});

test('a server that says nothing fails the probe after its timeout', async () => {
  const result = await probed({ httpGet: { port: 8080 }, timeoutSeconds: 3 }, () => undefined);
  assert.deepEqual(result, { ok: false, message: `GET http://${IP}:8080/: no answer within 3000 ms` });
});

test('nobody at the port, an unknown port name and HTTPS are failures that say so', async () => {
  assert.match((await probed({ httpGet: { port: 9999 } })).message, /ECONNREFUSED/);
  assert.match((await probed({ httpGet: { port: 'grpc' } })).message, /unknown port/);
  assert.match((await probed({ httpGet: { port: 8080, scheme: 'HTTPS' } })).message, /only the scheme HTTP/);
});

test('a TCP probe wants a connection', async () => {
  assert.equal((await probed({ tcpSocket: { port: 'http' } })).ok, true);
  assert.match((await probed({ tcpSocket: { port: 1 } })).message, /port 1: .*ECONNREFUSED/);
  assert.match((await probed({ tcpSocket: { port: 'none' } })).message, /unknown port/);
});

test('an exec probe wants exit code 0', async () => {
  const probe = { exec: { command: ['test', '-f', '/ready'] } };
  assert.equal((await probed(probe, undefined, async () => 0)).ok, true);
  assert.deepEqual(await probed(probe, undefined, async () => 1), {
    ok: false,
    message: '"test -f /ready" ended with 1',
  });
});

test('another kind of probe fails and names those there are', async () => {
  assert.match((await probed({ grpc: { port: 8080 } })).message, /httpGet, tcpSocket and exec/);
});

test("Kubernetes' defaults are filled in, and a second is the least", () => {
  assert.deepEqual(probeTimings({}), {
    ...{ initialDelayMs: 0, periodMs: 10_000, timeoutMs: 1_000, successThreshold: 1, failureThreshold: 3 },
  });
  const given = { initialDelaySeconds: 2, periodSeconds: 0, timeoutSeconds: 0, failureThreshold: 5 };
  assert.deepEqual(probeTimings(given), {
    ...{ initialDelayMs: 2_000, periodMs: 1_000, timeoutMs: 1_000, successThreshold: 1, failureThreshold: 5 },
  });
});

test('a verdict changes after as many results in a row as the thresholds say', async () => {
  const clock = new VirtualClock();
  const verdicts: string[] = [];
  const results = [false, true, true, false, false, true, false, false, false];
  const timings = {
    initialDelayMs: 5_000,
    periodMs: 1_000,
    timeoutMs: 1_000,
    successThreshold: 2,
    failureThreshold: 3,
  };
  let asked = 0;
  const loop = new ProbeLoop(
    clock,
    timings,
    async () => ({ ok: results[asked++] ?? false, message: 'no' }),
    (ok) => verdicts.push(`${asked}:${ok}`),
  );
  await clock.advance(4_999);
  assert.equal(asked, 0, 'not before the initial delay');
  await clock.advance(8_001);
  assert.equal(asked, 9);
  assert.deepEqual(verdicts, ['3:true', '9:false']);
  loop.stop();
  await clock.advance(10_000);
  assert.equal(asked, 9, 'a stopped probe asks no more');
});

test('a probe stopped while it is under way gives no verdict', async () => {
  const clock = new VirtualClock();
  let give: (result: ProbeResult) => void = () => undefined;
  const verdicts: boolean[] = [];
  const loop = new ProbeLoop(
    clock,
    probeTimings({}),
    () =>
      new Promise((resolve) => {
        give = resolve;
      }),
    (ok) => verdicts.push(ok),
  );
  await clock.advance(0);
  loop.stop();
  give({ ok: true, message: '' });
  await settle();
  assert.deepEqual(verdicts, []);
});
