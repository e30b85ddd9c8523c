import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../../support/wait.ts';
import { type AppHandler, startApp, type TestApp } from './app.ts';
import { ProxyClient } from './client.ts';
import {
  endpointSliceObject,
  type PodRecord,
  podObject,
  removeManifest,
  type ServiceRecord,
  serviceObject,
  writeManifest,
} from './manifests.ts';
import { askPage } from './pages.ts';
import { type HeddleProcess, startProcess } from './processes.ts';
import { createTokenIssuer, type TokenIssuer } from './tokens.ts';

/**
 * A mesh of real processes (control plane, one sidecar a pod) around apps that live in the test: no runner, so that a
 * test decides itself who lives, who dies and what the control plane sees.
 */
export interface TestMesh {
  readonly issuer: TokenIssuer;
  readonly directory: string;
  controlPlane(): HeddleProcess;
  ports(): ControlPlanePorts;
  startControlPlane(): Promise<void>;
  /** Applies manifests under a file name; the next call with the same name replaces them. */
  apply(file: string, yaml: string): void;
  unapply(file: string): void;
  addService(service: Omit<ServiceRecord, 'clusterIp'>): ServiceRecord;
  /** Settles once its sidecar is ready. */
  addPod(pod: PodOptions): Promise<TestPod>;
  /** Settles once its sidecar's process is started. */
  startPod(pod: PodOptions): Promise<TestPod>;
  close(): Promise<void>;
}

export interface ControlPlanePorts {
  readonly xds: number;
  readonly otlpGrpc: number;
  readonly otlpHttp: number;
  readonly dashboard: number;
  readonly metrics: number;
}

export interface PodOptions {
  readonly namespace: string;
  readonly name: string;
  readonly app?: AppHandler;
  readonly labels?: Readonly<Record<string, string>>;
  readonly serviceAccount?: string;
  /** More of the sidecar's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface TestPod {
  readonly record: PodRecord;
  readonly app: TestApp;
  readonly sidecar: HeddleProcess;
  /** Through the pod's own sidecar, as its app would call. */
  readonly client: ProxyClient;
  /** Begins the pod's deletion, as the control plane learns of it; everything goes on running. */
  terminate(): void;
  /** Takes the pod out of the endpoints and stops its sidecar as kubelet would. */
  remove(): Promise<void>;
}

const APP_PORT = 8080;
let nextAddress = 0;

/** Test files run as processes of their own: the process id keeps their pods' addresses apart. */
function freshPodIp(): string {
  nextAddress++;
  return `127.244.${process.pid % 250}.${nextAddress}`;
}

export interface MeshOptions {
  /** `mesh.yaml`. */
  readonly settings?: string;
  /** The main module of a room; its source unless a test runs bundles. */
  readonly program?: (room: 'control-plane' | 'proxy') => string;
}

export async function startMesh(options: MeshOptions = {}): Promise<TestMesh> {
  const program = options.program ?? ((room) => `${room}/main.ts`);
  const directory = mkdtempSync(join(tmpdir(), 'heddle-test-'));
  const manifests = join(directory, 'manifests');
  const runtime = join(directory, 'runtime');
  const issuer = createTokenIssuer();
  writeFileSync(join(directory, 'issuer.pem'), issuer.publicKeyPem);
  writeFileSync(join(directory, 'mesh.yaml'), options.settings ?? '');
  writeManifest(manifests, 'empty.yaml', '');
  const pods: TestPod[] = [];
  const services: ServiceRecord[] = [];
  let ports: ControlPlanePorts | undefined;
  let controlPlane: HeddleProcess | undefined;

  const publish = () => {
    const records = pods.map((pod) => pod.record);
    const items = [
      ...records.map(podObject),
      ...services.flatMap((service) => [serviceObject(service), endpointSliceObject(service, records)]),
    ];
    writeManifest(runtime, 'runtime.json', JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  };
  publish();

  const mesh: TestMesh = {
    issuer,
    directory,
    controlPlane() {
      if (controlPlane === undefined) throw new Error('the control plane was never started');
      return controlPlane;
    },
    ports() {
      if (ports === undefined) throw new Error('the control plane was never started');
      return ports;
    },
    async startControlPlane() {
      const portsFile = join(directory, 'ports.json');
      rmSync(portsFile, { force: true });
      const wanted = (key: keyof ControlPlanePorts) => String(ports?.[key] ?? 0);
      controlPlane = startProcess(
        program('control-plane'),
        [
          ...['--manifests', manifests, '--manifests', runtime, '--settings', join(directory, 'mesh.yaml')],
          ...['--state-dir', join(directory, 'state'), '--listen', '127.0.0.1', '--xds-port', wanted('xds')],
          ...['--otlp-grpc-port', wanted('otlpGrpc'), '--otlp-http-port', wanted('otlpHttp')],
          ...['--dashboard-port', wanted('dashboard'), '--metrics-port', wanted('metrics')],
          ...['--token-issuer-key', join(directory, 'issuer.pem'), '--ports-file', portsFile],
        ],
        {},
      );
      const started = controlPlane;
      await eventually(
        () => {
          if (started.exited()) throw new Error(`the control plane ended: ${started.output()}`);
          try {
            ports = JSON.parse(readFileSync(portsFile, 'utf8')) as ControlPlanePorts;
            return true;
          } catch {
            return false;
          }
        },
        { deadlineMs: 30_000, what: 'the control plane listens' },
      );
    },
    apply: (file, yaml) => writeManifest(manifests, file, yaml),
    unapply: (file) => removeManifest(manifests, file),
    addService(service) {
      const record = {
        ...service,
        clusterIp: `10.96.${services.length >> 8}.${(services.length & 255) + 1}`,
      };
      services.push(record);
      publish();
      return record;
    },
    async addPod(wanted) {
      const pod = await mesh.startPod(wanted);
      await sidecarReady(pod);
      return pod;
    },
    async startPod(wanted) {
      const app = await startApp(wanted.app ?? ((_request, response) => response.end(wanted.name)));
      const record: PodRecord = {
        namespace: wanted.namespace,
        name: wanted.name,
        labels: wanted.labels ?? { app: wanted.name },
        serviceAccount: wanted.serviceAccount ?? 'default',
        ip: freshPodIp(),
        meshed: true,
        port: APP_PORT,
      };
      const sidecar = startSidecar(program('proxy'), mesh, record, app.port, wanted.env ?? {});
      let current = record;
      const pod: TestPod = {
        get record() {
          return current;
        },
        app,
        sidecar,
        client: new ProxyClient(record.ip, 15001),
        terminate() {
          current = { ...record, terminating: true };
          publish();
        },
        async remove() {
          pods.splice(pods.indexOf(pod), 1);
          publish();
          pod.client.close();
          await sidecar.stop();
          await app.stop();
        },
      };
      pods.push(pod);
      publish();
      return pod;
    },
    async close() {
      for (const pod of pods) pod.client.close();
      await Promise.all(pods.map((pod) => pod.sidecar.stop('SIGKILL')));
      await Promise.all(pods.map((pod) => pod.app.stop()));
      await controlPlane?.stop('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await mesh.startControlPlane();
  return mesh;
}

function startSidecar(
  program: string,
  mesh: TestMesh,
  record: PodRecord,
  appPort: number,
  env: Readonly<Record<string, string>>,
): HeddleProcess {
  const tokenFile = join(mesh.directory, `${record.namespace}-${record.name}.token`);
  writeFileSync(
    tokenFile,
    mesh.issuer.issue({
      namespace: record.namespace,
      serviceAccount: record.serviceAccount,
      pod: record.name,
    }),
  );
  const ports = mesh.ports();
  return startProcess(program, [], {
    HEDDLE_CONTROL_PLANE: `127.0.0.1:${ports.xds}`,
    HEDDLE_POD_NAME: record.name,
    HEDDLE_POD_NAMESPACE: record.namespace,
    HEDDLE_POD_IP: record.ip,
    HEDDLE_NODE_NAME: 'node-1',
    HEDDLE_SERVICE_ACCOUNT: record.serviceAccount,
    HEDDLE_TRUST_DOMAIN: 'cluster.local',
    HEDDLE_TOKEN_FILE: tokenFile,
    HEDDLE_ROOT_FILE: join(mesh.directory, 'state', 'root.pem'),
    HEDDLE_CAPTURE: 'http-proxy',
    HEDDLE_CONTAINER_PORTS: `${record.port}=${appPort}`,
    HEDDLE_OTLP_ENDPOINT: `127.0.0.1:${ports.otlpGrpc}`,
    HEDDLE_LOG_LEVEL: 'info',
    ...env,
  });
}

/** Waits until a pod's sidecar says that it serves. */
export async function sidecarReady(pod: TestPod): Promise<void> {
  await eventually(
    async () => {
      if (pod.sidecar.exited())
        throw new Error(`the sidecar of ${pod.record.name} ended: ${pod.sidecar.output()}`);
      const page = await askPage(`http://${pod.record.ip}:15021/healthz/ready`).catch(() => undefined);
      return page?.status === 200;
    },
    { deadlineMs: 30_000, what: `the sidecar of ${pod.record.name} is ready` },
  );
}
