import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse } from 'yaml';
import { admitPod, type WebhookAddress } from '../../cli/local/admission.ts';
import { freePort } from '../../cli/local/free-port.ts';
import { podSpecOf } from '../../cli/local/pod-spec.ts';
import { systemClock } from '../../common/clock.ts';
import { silentLogger } from '../../common/log.ts';
import { seededRandom, systemRandom } from '../../common/random.ts';
import { parseOptions } from '../../injector/options.ts';
import { startInjector } from '../../injector/start.ts';
import type { KubeObject } from '../../model/objects.ts';
import { leakCheck } from '../support/leak-check.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { eventually } from '../support/wait.ts';
import { startMesh, type TestMesh } from './mesh/harness.ts';
import { type HeddleProcess, startProcess } from './mesh/processes.ts';
import { callWebhook, openConnection, reviewOf } from './webhook/caller.ts';

leakCheck();

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const POD = parse(`
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  serviceAccountName: web
  initContainers: [{name: migrate, command: [migrate]}]
  containers:
  - name: web
    command: [node, web.mjs]
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /healthz, port: http}}
`) as KubeObject;

let mesh: TestMesh;
const running: HeddleProcess[] = [];

interface Injector {
  readonly process: HeddleProcess;
  readonly tokenFile: string;
  address(): Promise<WebhookAddress>;
}

/** As `heddle up` starts it. */
function runInjector(
  name: string,
  options: { readonly token?: string; readonly args?: readonly string[] } = {},
): Injector {
  const file = (suffix: string) => join(mesh.directory, `${name}.${suffix}`);
  const tokenFile = file('token');
  const portsFile = file('ports');
  const rootFile = join(mesh.directory, 'state', 'root.pem');
  writeFileSync(tokenFile, options.token ?? injectorToken());
  const process = startProcess(
    'injector/main.ts',
    [
      ...['--listen', '127.0.0.1', '--port', '0', '--control-plane', `127.0.0.1:${mesh.ports().xds}`],
      ...['--trust-domain', 'cluster.local', '--capture', 'http-proxy', '--token-file', tokenFile],
      ...['--root-file', rootFile, '--ports-file', portsFile, ...(options.args ?? [])],
    ],
    {},
  );
  running.push(process);
  return {
    process,
    tokenFile,
    async address() {
      await eventually(
        () => {
          if (process.exited()) throw new Error(`the injector ended: ${process.output()}`);
          return existsSync(portsFile);
        },
        { deadlineMs: 30_000, what: `the injector listens: ${process.output()}` },
      );
      const { webhook } = JSON.parse(readFileSync(portsFile, 'utf8')) as { webhook: number };
      return { port: webhook, rootPem: readFileSync(rootFile, 'utf8') };
    },
  };
}

function injectorToken(): string {
  return mesh.issuer.issue({
    namespace: 'heddle-system',
    serviceAccount: 'heddle-injector',
    pod: 'heddle-injector',
  });
}

before(async () => {
  mesh = await startMesh();
});
after(async () => {
  await Promise.all(running.map((process) => process.stop('SIGKILL')));
  await mesh.close();
});

test('a pod is admitted as the local runner asks for it', async () => {
  const address = await runInjector('admits').address();
  const admitted = await admitPod(address, POD, randomUUID());
  assert.ok(admitted.ok, admitted.ok ? '' : admitted.error.message);
  const { init, containers } = podSpecOf(admitted.value);
  assert.deepEqual(
    init.map(({ name, sidecar }) => [name, sidecar]),
    [
      ['heddle-proxy', true],
      ['migrate', false],
    ],
  );
  assert.deepEqual(containers[0]?.probes.readiness, {
    httpGet: { path: '/app-health/web/readyz', port: 15_021 },
  });
  assert.equal(admitted.value.metadata.annotations?.['heddle.dev/injected'], 'default');
  const again = await admitPod(address, admitted.value, randomUUID());
  assert.ok(again.ok);
  assert.deepEqual(again.value, admitted.value);
});

test('a refusal reaches whoever made the pod', async () => {
  const address = await runInjector('refuses').address();
  const annotations = { 'heddle.dev/trace-sampling': 'all' };
  const refused = await admitPod(
    address,
    { ...POD, metadata: { ...POD.metadata, annotations } },
    randomUUID(),
  );
  assert.ok(!refused.ok);
  assert.match(
    refused.error.message,
    /heddle\.dev\/trace-sampling must be a percentage from 0 to 100, not "all"/,
  );
});

test('certificates change under a connection that stands, with the token and the roots of the day', async () => {
  const clock = new VirtualClock(systemClock.wallMs());
  const [tokenFile, rootFile] = ['token', 'roots'].map((name) => join(mesh.directory, `rotates.${name}`));
  assert.ok(tokenFile !== undefined && rootFile !== undefined);
  const rootPem = readFileSync(join(mesh.directory, 'state', 'root.pem'), 'utf8');
  writeFileSync(tokenFile, injectorToken());
  writeFileSync(rootFile, rootPem);
  const parsed = parseOptions([
    ...['--control-plane', `127.0.0.1:${mesh.ports().xds}`, '--port', '0'],
    ...['--token-file', tokenFile, '--root-file', rootFile],
  ]);
  assert.ok(parsed.ok && parsed.value !== 'help');
  const injector = await startInjector(parsed.value, { clock, random: seededRandom(3), log: silentLogger });
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async () => {
    const kept = await callWebhook(injector.port, rootPem, reviewOf(POD), { agent });
    assert.equal(kept.status, 200);
    const fresh = await openConnection(injector.port, rootPem);
    const { serialNumber } = fresh.socket.getPeerCertificate();
    fresh.socket.destroy();
    await fresh.closed;
    return serialNumber;
  };
  try {
    await injector.ready;
    const first = await ask();
    writeFileSync(tokenFile, 'of yesterday');
    writeFileSync(rootFile, 'of yesterday');
    await clock.advance(15 * HOUR_MS);
    assert.equal(await ask(), first, 'the old certificate serves while there is no other');
    writeFileSync(tokenFile, injectorToken());
    writeFileSync(rootFile, rootPem);
    const renewed = async () => {
      await clock.advance(MINUTE_MS);
      return (await ask()) !== first;
    };
    await eventually(renewed, { deadlineMs: 20_000, what: 'there is a new certificate' });
    assert.equal(Object.values(agent.freeSockets).flat().length, 1, 'one connection carried every review');
  } finally {
    agent.destroy();
    await injector.close();
  }
});

test('without a certificate it says so and keeps asking, until there is one', async () => {
  const port = await freePort(systemRandom);
  const { process, address, tokenFile } = runInjector('waits', {
    token: 'not a token',
    args: ['--port', String(port)],
  });
  await eventually(() => process.output().includes('no certificate from the CA yet'), {
    deadlineMs: 15_000,
    what: 'the reason is in the log',
  });
  assert.match(process.output(), /the token is not a JWT/);
  const probe = (path: string) => callWebhook(port, undefined, '', { method: 'GET', path });
  const ready = await probe('/readyz');
  assert.match(`${ready.status} ${ready.body}`, /^503 .*certificate.*the token is not a JWT/);
  assert.equal((await probe('/livez')).status, 200);
  assert.equal(process.exited(), false);
  writeFileSync(tokenFile, injectorToken());
  assert.ok((await admitPod(await address(), POD, randomUUID())).ok);
});

test('SIGTERM ends it cleanly, once callers have had time to hear of it', async () => {
  const { process, address } = runInjector('ends', { args: ['--shutdown-delay', '1s'] });
  const { port, rootPem } = await address();
  const from = systemClock.now();
  const stopped = process.stop('SIGTERM');
  await eventually(
    async () => (await callWebhook(port, rootPem, '', { method: 'GET', path: '/readyz' })).status === 503,
    { deadlineMs: 900, what: 'it says that it goes' },
  );
  assert.ok((await admitPod({ port, rootPem }, POD, randomUUID())).ok, 'and serves on');
  await stopped;
  assert.ok(systemClock.now() - from >= 1_000);
  assert.equal(process.child.exitCode, 0);
  assert.match(process.output(), /"message":"injector stops"/);
});

test('a wrong flag ends it with its usage, a port that is taken with the reason', async () => {
  const wrong = runInjector('wrong', { args: ['--capture', 'some'] });
  await eventually(() => wrong.process.exited(), { deadlineMs: 10_000, what: 'the injector ends' });
  assert.equal(wrong.process.child.exitCode, 2);
  assert.match(wrong.process.output(), /--capture must be transparent or http-proxy[\s\S]*Usage: injector/);
  const taken = runInjector('taken', { args: ['--port', String(mesh.ports().xds)] });
  await eventually(() => taken.process.exited(), { deadlineMs: 10_000, what: 'the injector ends' });
  assert.equal(taken.process.child.exitCode, 1);
  assert.match(taken.process.output(), /^injector: .*EADDRINUSE/);
});
