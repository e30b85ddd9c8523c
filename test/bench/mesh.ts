import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SIDECAR_NODE_FLAGS } from '../../cli/local/bundles.ts';
import {
  endpointSliceObject,
  type PodRecord,
  podObject,
  type ServiceRecord,
  serviceObject,
  writeManifest,
} from '../integration/mesh/manifests.ts';
import { createTokenIssuer, type TokenIssuer } from '../integration/mesh/tokens.ts';
import { eventually } from '../support/wait.ts';
import type { Site } from './peers/peer.ts';
import { accepts, type Program, startProgram } from './processes.ts';
import type { Seats } from './seats.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const NAMESPACE = 'bench';
export const OUTBOUND_PORT = 15001;
const HEALTH_PORT = 15021;
const READY_MS_MAX = 30_000;

/** Nothing is traced: spans are a case of their own. */
const SETTINGS = `tracing: {samplingPercent: 0, keepErrors: false, keepSlowerThan: 0s}
`;

/** The same rules as every other peer has, and everything that DESIGN promises is on. */
const POLICIES = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: ${NAMESPACE}}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - matches:
    - path: {type: PathPrefix, value: /items}
      headers: [{name: x-canary, value: "yes"}]
    backendRefs: [{name: web, port: 80}]
    timeouts: {request: 15s}
  - matches: [{path: {type: Exact, value: /healthz}}, {path: {type: PathPrefix, value: /admin}}]
    backendRefs: [{name: web, port: 80}]
    timeouts: {request: 15s}
  - matches: [{path: {type: PathPrefix, value: /items}}]
    backendRefs: [{name: web, port: 80}]
    timeouts: {request: 15s}
---
apiVersion: heddle.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: web, namespace: ${NAMESPACE}}
spec:
  targetRefs: [{group: "", kind: Service, name: web}]
  retry: {attempts: 2, codes: [503]}
  circuitBreaker: {errorThresholdPercentage: 50, volumeThreshold: 20}
  outlierEjection: {consecutiveErrors: 5}
  limits: {maxConnections: 1024, maxPendingRequests: 1024, maxRequests: 1024}
`;

/** So that what is measured between sidecars is mTLS, or an error. */
const STRICT = `apiVersion: heddle.dev/v1alpha1
kind: MTLSPolicy
metadata: {name: strict, namespace: ${NAMESPACE}}
spec: {mode: STRICT}
`;

/** A mesh of real processes whose apps are addresses that somebody else serves. */
export interface BenchMesh {
  /** Adds a pod that the mesh knows as an endpoint only. */
  addPlainPod(name: string, ip: string, port: number): void;
  addService(name: string, targetPort: number): void;
  /** Adds a pod with a sidecar, on the seat that is measured; its app listens on `appPort` of 127.0.0.1. */
  addSidecar(
    name: string,
    ip: string,
    ports: { readonly port: number; readonly appPort: number },
  ): Promise<Program>;
  stop(): Promise<void>;
}

/** The program of a room: the file that Node is given. */
export type Programs = (room: 'control-plane' | 'proxy') => string;

export async function startBenchMesh(
  { directory, seats, topology }: Pick<Site, 'directory' | 'seats' | 'topology'>,
  programs: Programs,
): Promise<BenchMesh> {
  const issuer = createTokenIssuer();
  writeFileSync(join(directory, 'issuer.pem'), issuer.publicKeyPem);
  writeFileSync(join(directory, 'mesh.yaml'), SETTINGS);
  const manifests = join(directory, 'manifests');
  const runtime = join(directory, 'runtime');
  writeManifest(manifests, 'policies.yaml', POLICIES);
  if (topology === 'mtls-pair') writeManifest(manifests, 'strict.yaml', STRICT);
  mkdirSync(runtime, { recursive: true });
  const pods: PodRecord[] = [];
  const services: ServiceRecord[] = [];
  const publish = () => {
    const items = [
      ...pods.map(podObject),
      ...services.flatMap((service) => [serviceObject(service), endpointSliceObject(service, pods)]),
    ];
    writeManifest(runtime, 'runtime.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  };
  publish();
  const controlPlane = await startControlPlane(directory, seats, programs('control-plane'));
  const sidecars: Program[] = [];
  return {
    addPlainPod(name, ip, port) {
      pods.push(record(name, ip, port, false));
      publish();
    },
    addService(name, targetPort) {
      const clusterIp = `10.96.200.${services.length + 1}`;
      services.push({ namespace: NAMESPACE, name, port: 80, targetPort, selector: { app: name }, clusterIp });
      publish();
    },
    async addSidecar(name, ip, ports) {
      const pod = record(name, ip, ports.port, true);
      const env = sidecarEnvironment(directory, controlPlane.xds, issuer, pod, ports.appPort);
      const sidecar = await startProgram(process.execPath, [...SIDECAR_NODE_FLAGS, programs('proxy')], {
        seat: seats.proxy,
        ready: () => accepts(ip, OUTBOUND_PORT),
        env,
      });
      sidecars.push(sidecar);
      pods.push(pod);
      publish();
      await ready(ip, sidecar);
      return sidecar;
    },
    async stop() {
      await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
      await controlPlane.program.stop();
    },
  };
}

function record(name: string, ip: string, port: number, meshed: boolean): PodRecord {
  const app = name.replace(/-\d+$/, '');
  return { namespace: NAMESPACE, name, labels: { app }, serviceAccount: app, ip, meshed, port };
}

async function startControlPlane(directory: string, seats: Seats, program: string) {
  const portsFile = join(directory, 'ports.json');
  const child = await startProgram(
    process.execPath,
    [
      ...[program, '--manifests', join(directory, 'manifests'), '--manifests', join(directory, 'runtime')],
      ...['--settings', join(directory, 'mesh.yaml'), '--state-dir', join(directory, 'state')],
      ...['--listen', '127.0.0.1', '--xds-port', '0', '--otlp-grpc-port', '0', '--otlp-http-port', '0'],
      ...[
        '--dashboard-port',
        '0',
        '--metrics-port',
        '0',
        '--token-issuer-key',
        join(directory, 'issuer.pem'),
      ],
      ...['--ports-file', portsFile],
    ],
    { seat: seats.load, ready: () => existsSync(portsFile) },
  );
  const { xds } = JSON.parse(readFileSync(portsFile, 'utf8')) as { xds: number };
  return { program: child, xds };
}

function sidecarEnvironment(
  directory: string,
  xdsPort: number,
  issuer: TokenIssuer,
  pod: PodRecord,
  appPort: number,
): Readonly<Record<string, string>> {
  const tokenFile = join(directory, `${pod.name}.token`);
  const { namespace, serviceAccount, name } = pod;
  writeFileSync(tokenFile, issuer.issue({ namespace, serviceAccount, pod: name }));
  return {
    HEDDLE_CONTROL_PLANE: `127.0.0.1:${xdsPort}`,
    HEDDLE_POD_NAME: name,
    HEDDLE_POD_NAMESPACE: namespace,
    HEDDLE_POD_IP: pod.ip,
    HEDDLE_NODE_NAME: 'node-1',
    HEDDLE_SERVICE_ACCOUNT: serviceAccount,
    HEDDLE_TRUST_DOMAIN: 'cluster.local',
    HEDDLE_TOKEN_FILE: tokenFile,
    HEDDLE_ROOT_FILE: join(directory, 'state', 'root.pem'),
    HEDDLE_CAPTURE: 'http-proxy',
    HEDDLE_CONTAINER_PORTS: `${pod.port}=${appPort}`,
  };
}

async function ready(ip: string, sidecar: Program): Promise<void> {
  await eventually(async () => (await statusOf(`http://${ip}:${HEALTH_PORT}/healthz/ready`)) === 200, {
    deadlineMs: READY_MS_MAX,
    what: `the sidecar is ready (${sidecar.output()})`,
  });
}

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const request = http.get(url, { agent: false }, (response) => {
      response.resume();
      response.on('close', () => resolve(response.statusCode));
    });
    request.on('error', () => resolve(undefined));
  });
}
