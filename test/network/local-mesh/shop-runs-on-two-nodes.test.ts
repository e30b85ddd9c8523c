import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isReady, LocalMesh, processesOf, type Shown } from '../../integration/local-mesh/run.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { eventually } from '../../support/wait.ts';
import { Laptop } from './laptop.ts';

leakCheck();

const SHOP = fileURLToPath(new URL('../../../demo/shop', import.meta.url));
const AGENT = fileURLToPath(new URL('../../../cni/agent/main.ts', import.meta.url));
const skip = existsSync(AGENT) ? false : 'this version of Heddle has no node agent yet';
const policyMs = 10_000;

let laptop: Laptop;
let mesh: LocalMesh;
let pods: readonly Shown[];
before(async () => {
  if (skip !== false) return;
  laptop = new Laptop('shop');
  mesh = new LocalMesh(laptop.netns);
  cpSync(SHOP, mesh.manifests, { recursive: true });
  await mesh.up('--network', 'ebpf', '--name', laptop.mesh);
  pods = await mesh.get('pods', 'shop');
});
after(async () => {
  if (skip !== false) return;
  await mesh.close();
  const left = laptop.left();
  laptop.close();
  assert.deepEqual(left, [], mesh.output);
});

const page = () => laptop.curl('http://127.0.0.1:8080/');

test('every pod is ready, with an address of its own, on both nodes', { skip }, () => {
  assert.ok(pods.length >= 7 && pods.every(isReady));
  const ips = pods.flatMap((one) => one.status.podIPs?.map(({ ip }) => ip) ?? []);
  assert.equal(new Set(ips).size, ips.length);
  assert.deepEqual(new Set(pods.map((one) => one.spec.nodeName)), new Set(['node-1', 'node-2']));
});

test('the page is made of what other pods answer through their sidecars', { skip }, async () => {
  await eventually(() => !page().includes('Not available'), {
    deadlineMs: policyMs,
    what: 'the page is whole',
  });
  const { out } = await mesh.heddle('traces');
  assert.match(out, /catalog/);
});

test('apps are told of no proxy', { skip }, () => {
  const app = processesOf(mesh.manifests).find(({ what }) => /^node apps\/web\.mjs$/.test(what))?.pid;
  assert.ok(app !== undefined);
  const names = readFileSync(`/proc/${app}/environ`, 'utf8')
    .split('\0')
    .map((entry) => entry.split('=')[0]);
  for (const name of ['http_proxy', 'HTTP_PROXY', 'NODE_USE_ENV_PROXY', 'HOST', 'PORT'])
    assert.ok(!names.includes(name), name);
});

test('between nodes everything is TLS inside VXLAN', { skip }, async () => {
  const capture = spawn(
    'nsenter',
    [`--net=/run/netns/${laptop.netns}`, '--', 'tcpdump', '-i', 'heddle0', '-A', '-l', '-c', '60', 'udp'],
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

test('a NetworkPolicy of the folder blocks what it says, and its removal lets it pass', {
  skip,
}, async () => {
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
  const reviews = (await mesh.get('pods', 'shop')).find((one) => one.metadata.name.startsWith('reviews-'));
  assert.ok(reviews !== undefined && isReady(reviews), 'its node still probes it');
  mesh.remove('policy.yaml');
  await eventually(() => !page().includes('Not available'), { deadlineMs: policyMs, what: 'and come back' });
});
