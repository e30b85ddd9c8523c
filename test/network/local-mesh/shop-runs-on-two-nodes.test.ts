import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isReady, processesOf, type Shown } from '../../integration/local-mesh/run.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { rootOfCgroups } from '../../support/network/cgroups.ts';
import { eventually } from '../../support/wait.ts';
import { LaptopMesh } from './laptop-mesh.ts';

leakCheck();

const SHOP = fileURLToPath(new URL('../../../demo/shop', import.meta.url));
const TRY = fileURLToPath(new URL('../../../demo/try', import.meta.url));
const policyMs = 10_000;
const ruleMs = 10_000;
const breakerMs = 30_000;

let mesh: LaptopMesh;
let pods: readonly Shown[];
before(async () => {
  mesh = new LaptopMesh('shop');
  cpSync(SHOP, mesh.manifests, { recursive: true });
  await mesh.stand();
  pods = await mesh.get('pods', 'shop');
});
after(() => mesh.close());

/** Runs curl as another process of a container of `load`: with its network, names, cgroup and no settings. */
const curlInPod = (...args: readonly string[]) => curlBeside('apps/load.mjs', ...args);

function curlBeside(program: string, ...args: readonly string[]): string {
  const pid = processesOf(mesh.manifests).find(({ what }) => what.endsWith(` ${program}`))?.pid;
  const cgroup = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '';
  const script =
    'echo $$ >"$1/cgroup.procs"; pid="$2"; shift 2; exec nsenter -t "$pid" -n -m -u curl -s "$@"';
  const words = ['-c', script, 'sh', join(rootOfCgroups(), cgroup), String(pid), '--max-time', '5', ...args];
  return execFileSync('sh', words, { encoding: 'utf8' });
}

/** Where `heddle up` said that it is. */
const dashboard = () => /dashboard +(http:\S+)/.exec(mesh.output)?.[1] ?? '';

const page = () => mesh.laptop.curl('http://127.0.0.1:8080/');

test('every pod is ready, with an address of its own, on both nodes', () => {
  assert.ok(pods.length >= 7 && pods.every(isReady));
  const ips = pods.flatMap((one) => one.status.podIPs?.map(({ ip }) => ip) ?? []);
  assert.equal(new Set(ips).size, ips.length);
  assert.deepEqual(new Set(pods.map((one) => one.spec.nodeName)), new Set(['node-1', 'node-2']));
});

test('the page is made of what other pods answer through their sidecars', async () => {
  await eventually(() => !page().includes('Not available'), {
    deadlineMs: policyMs,
    what: 'the page is whole',
  });
  const services = async () => {
    const { out } = await mesh.heddle('traces', '-o', 'json');
    return ['web', 'catalog', 'reviews', 'cart'].filter((one) => new RegExp(`"${one}[-"]`).test(out));
  };
  await eventually(async () => (await services()).length === 4, {
    ...{ deadlineMs: policyMs, what: 'traces go through Node and Python apps alike' },
  });
});

test('apps are told of no proxy', () => {
  const app = processesOf(mesh.manifests).find(({ what }) => /^node apps\/web\.mjs$/.test(what))?.pid;
  assert.ok(app !== undefined);
  const names = readFileSync(`/proc/${app}/environ`, 'utf8')
    .split('\0')
    .map((entry) => entry.split('=')[0]);
  for (const name of ['http_proxy', 'HTTP_PROXY', 'NODE_USE_ENV_PROXY', 'HOST', 'PORT'])
    assert.ok(!names.includes(name), name);
});

test('a route rule holds for curl in a pod, which knows of no mesh', async () => {
  const version = () =>
    /"version":"(v\d)"/.exec(curlInPod('http://catalog/items', '-H', 'x-user: beta'))?.[1];
  assert.equal(version(), 'v1');
  assert.equal((await mesh.heddle('apply', '-f', join(TRY, 'canary.yaml'))).code, 0);
  await eventually(() => version() === 'v2', { deadlineMs: ruleMs, what: 'the rule is in force' });
  for (let again = 0; again < 20; again++) assert.equal(version(), 'v2');
  assert.equal((await mesh.heddle('delete', '-f', join(TRY, 'canary.yaml'))).code, 0);
  await eventually(() => version() === 'v1', { deadlineMs: ruleMs, what: 'the rule is gone' });
});

test('a pod that its own Service leads to itself is answered, under STRICT as well', () => {
  assert.match(curlBeside('apps/cart.py', 'http://cart/healthz', '-w', ' %{http_code}'), / 200$/);
});

test('a failing app is tried again, then its breaker opens, and closes once it is well', async () => {
  const quote = () => curlInPod('http://payments/quote', '--include');
  assert.match(quote(), /^HTTP\/1.1 200/);
  assert.equal((await mesh.heddle('apply', '-f', join(TRY, 'payments-outage.yaml'))).code, 0);
  await eventually(() => /x-heddle-reason: circuit-open/i.test(quote()), {
    ...{ deadlineMs: breakerMs, what: 'the breaker opens' },
  });
  const { out } = await mesh.heddle('traces', '-o', 'json');
  assert.match(out, /"retries": ?[1-9]/, 'retries are attempts of their own in a trace');
  assert.equal((await mesh.heddle('apply', '-f', join(TRY, 'payments-back.yaml'))).code, 0);
  await eventually(() => /^HTTP\/1.1 200/.test(quote()), {
    ...{ deadlineMs: breakerMs, what: 'the breaker closes' },
  });
});

test('between nodes everything is TLS inside VXLAN', async () => {
  const capture = spawn(
    'nsenter',
    [
      `--net=/run/netns/${mesh.laptop.netns}`,
      '--',
      'tcpdump',
      '-i',
      'heddle0',
      '-A',
      '-l',
      '-c',
      '60',
      'udp',
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  let seen = '';
  capture.stdout.on('data', (chunk: Buffer) => {
    seen += chunk.toString('latin1');
  });
  try {
    await eventually(() => page() !== '' && /VXLAN/.test(seen), {
      deadlineMs: policyMs,
      what: 'VXLAN is seen',
    });
  } finally {
    capture.kill('SIGKILL');
  }
  assert.doesNotMatch(seen, /HTTP\/1\.1|GET \//, 'no request can be read');
});

test('a NetworkPolicy of the folder blocks what it says, and its removal lets it pass', async () => {
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: no-reviews, namespace: shop}
spec: {podSelector: {matchLabels: {app: reviews}}, policyTypes: [Ingress]}
`;
  mesh.write('policy.yaml', policy);
  await eventually(() => page().includes('Not available'), {
    deadlineMs: policyMs,
    what: 'reviews are cut off',
  });
  await eventually(
    async () =>
      /policy +shop\/\S+ +→ shop\/reviews-\S+:8080\/TCP .*shop\/no-reviews/.test(
        (await mesh.heddle('drops')).out,
      ),
    {
      ...{ deadlineMs: policyMs, what: 'the drop is told with both pods and the policy' },
    },
  );
  const shown = mesh.laptop.curl(`${dashboard()}/api/heddle/drops`);
  assert.match(shown, /shop\/no-reviews/, 'the dashboard tells it as well');
  const reviews = (await mesh.get('pods', 'shop')).find((one) => one.metadata.name.startsWith('reviews-'));
  assert.ok(reviews !== undefined && isReady(reviews), 'its node still probes it');
  mesh.remove('policy.yaml');
  await eventually(() => !page().includes('Not available'), { deadlineMs: policyMs, what: 'and come back' });
});
