// node bin/pinned test/bench/kubernetes-source.ts [SERVICES PODS]: what a control plane costs that follows a large cluster.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MESH_KINDS } from '../../control-plane/sources.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { FakeApi } from '../support/kubernetes/fake-api.ts';
import { serveApi } from '../support/kubernetes/http.ts';
import { cpuMicros } from './counters.ts';
import { startProgram } from './processes.ts';

const [serviceCount = 1_000, podCount = 10_000] = process.argv.slice(2).map(Number);
const PODS_PER_SERVICE = Math.max(1, Math.floor(podCount / serviceCount));
const CHANGES = 200;
const CHANGE_EVERY_MS = 50;
const SETTLE_MS = 3_000;
const READY_MS_MAX = 60_000;
const PROGRAM = fileURLToPath(
  new URL(process.env.HEDDLE_PROGRAM ?? '../../control-plane/main.ts', import.meta.url),
);

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const addressOf = (pod: number) => `10.${100 + (pod >> 16)}.${(pod >> 8) & 255}.${pod & 255}`;

/** A Pod as long as a real one: environment, volumes, probes, status of its containers. */
function podOf(index: number): Parameters<FakeApi['put']>[1] {
  const app = `app-${Math.floor(index / PODS_PER_SERVICE)}`;
  const env = Array.from({ length: 20 }, (_, one) => ({
    name: `VARIABLE_${one}`,
    value: `value of ${app} ${one}`,
  }));
  const probe = { httpGet: { path: '/health', port: 8080 }, periodSeconds: 10, timeoutSeconds: 1 };
  const containers = [
    {
      ...{
        name: 'app',
        image: `registry.example/${app}:1.0.0`,
        env,
        readinessProbe: probe,
        livenessProbe: probe,
      },
      ...{
        ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
        volumeMounts: [{ name: 'token' }],
      },
      resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    },
  ];
  const managedFields = Array.from({ length: 4 }, (_, one) => ({
    ...{
      manager: `manager-${one}`,
      operation: 'Update',
      fieldsV1: Object.fromEntries(env.map(({ name }) => [`f:${name}`, {}])),
    },
  }));
  return {
    metadata: {
      ...{
        namespace: `team-${index % 20}`,
        name: `${app}-5d4f8c7b9-${index}`,
        labels: { app },
        managedFields,
      },
      annotations: { 'heddle.dev/injected': 'true' },
    },
    spec: {
      nodeName: `node-${index % 100}`,
      serviceAccountName: app,
      containers,
      volumes: [{ name: 'token' }],
    },
    status: {
      ...{ phase: 'Running', podIP: addressOf(index), podIPs: [{ ip: addressOf(index) }] },
      containerStatuses: [
        { name: 'app', ready: true, restartCount: 0, containerID: `containerd://${index}` },
      ],
    },
  };
}

function sliceOf(index: number, ready: boolean): Parameters<FakeApi['put']>[1] {
  const namespace = `team-${index % 20}`;
  const endpoints = Array.from({ length: PODS_PER_SERVICE }, (_, one) => {
    const pod = index * PODS_PER_SERVICE + one;
    const conditions = { ready: ready || one > 0, serving: true, terminating: false };
    const targetRef = { kind: 'Pod', namespace, name: podOf(pod).metadata.name };
    return { addresses: [addressOf(pod)], conditions, targetRef, nodeName: `node-${pod % 100}` };
  });
  const labels = { 'kubernetes.io/service-name': `app-${index}` };
  return {
    ...{ metadata: { namespace, name: `app-${index}-x`, labels }, addressType: 'IPv4', endpoints },
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  } as Parameters<FakeApi['put']>[1];
}

function fill(api: FakeApi): void {
  for (let team = 0; team < 20; team++) api.put(KINDS.namespace, { metadata: { name: `team-${team}` } });
  for (let node = 0; node < 100; node++) api.put(KINDS.node, { metadata: { name: `node-${node}` } });
  for (let index = 0; index < serviceCount; index++) {
    const ports = [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }];
    const clusterIP = `10.96.${index >> 8}.${index & 255}`;
    const spec = {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      selector: { app: `app-${index}` },
      ports,
    };
    api.put(KINDS.service, { metadata: { namespace: `team-${index % 20}`, name: `app-${index}` }, spec });
    api.put(KINDS.endpointSlice, sliceOf(index, true));
  }
  for (let index = 0; index < serviceCount * PODS_PER_SERVICE; index++) api.put(KINDS.pod, podOf(index));
}

function memoryMb(pid: number): string {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (field: string) =>
    Math.round(Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(text)?.[1]) / 1024);
  return `${mb('VmRSS')} MiB (at most ${mb('VmHWM')} MiB)`;
}

async function measure(what: string, api: FakeApi, changes: number): Promise<void> {
  const http = await serveApi(api);
  const folder = mkdtempSync(join(tmpdir(), 'heddle-bench-source-'));
  const file = (name: string) => join(folder, name);
  const cluster = { server: http.server, 'insecure-skip-tls-verify': true };
  writeFileSync(
    file('kubeconfig'),
    JSON.stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c' },
      ...{ clusters: [{ name: 'c', cluster }], users: [{ name: 'u', user: { token: 't' } }] },
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    }),
  );
  const ports = ['xds', 'otlp-grpc', 'otlp-http', 'dashboard', 'metrics'].flatMap((name) => [
    `--${name}-port`,
    '0',
  ]);
  const startMs = performance.now();
  const program = await startProgram(
    process.execPath,
    [
      ...[PROGRAM, '--kubernetes', '--kubeconfig', file('kubeconfig'), '--state-dir', folder],
      ...['--ports-file', file('ports'), '--log-level', 'warn', ...ports],
    ],
    { seat: undefined, readyMsMax: READY_MS_MAX, ready: () => isThere(file('ports')) },
  );
  try {
    console.log(
      `${what}: ready after ${Math.round(performance.now() - startMs)} ms, ${Math.round(cpuMicros([program.pid]) / 1_000)} ms of CPU`,
    );
    await wait(SETTLE_MS);
    console.log(`${what}: ${memoryMb(program.pid)}`);
    if (changes === 0) return;
    const before = cpuMicros([program.pid]);
    for (let change = 0; change < changes; change++) {
      api.put(KINDS.endpointSlice, sliceOf(change % serviceCount, change % 2 === 0));
      await wait(CHANGE_EVERY_MS);
    }
    await wait(SETTLE_MS);
    const perChange = (cpuMicros([program.pid]) - before) / changes / 1_000;
    console.log(
      `${what}: ${perChange.toFixed(1)} ms of CPU for the change of one endpoint, ${memoryMb(program.pid)} after ${changes}`,
    );
  } finally {
    await program.stop();
    await http.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function isThere(path: string): boolean {
  try {
    return readFileSync(path, 'utf8') !== '';
  } catch {
    return false;
  }
}

function apiOfMesh(): FakeApi {
  const own = [KINDS.configMap, KINDS.secret, KINDS.lease, KINDS.event, KINDS.mutatingWebhook];
  const api = new FakeApi([...MESH_KINDS.map(({ kind }) => kind), ...own]);
  api.put(KINDS.configMap, {
    metadata: { namespace: 'heddle-system', name: 'heddle' },
    data: { 'mesh.yaml': '' },
  });
  return api;
}

await measure('an empty cluster', apiOfMesh(), 0);
const api = apiOfMesh();
fill(api);
await measure(`${serviceCount} Services and ${serviceCount * PODS_PER_SERVICE} Pods`, api, CHANGES);
