import { MESH_KINDS } from '../../control-plane/sources.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { FakeApi } from '../support/kubernetes/fake-api.ts';

type ApiObject = Parameters<FakeApi['put']>[1];

/** A cluster of plain Services, each with as many Pods as the others. */
export interface ClusterSize {
  readonly services: number;
  readonly pods: number;
}

/** What a Pod is called, and what it runs as. */
export interface PodPlace {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly address: string;
}

export const SERVICE_PORT = 80;
const NAMESPACES = 20;
const NODES = 100;
const APP_PORT = 8080;

function podsPerService({ services, pods }: ClusterSize): number {
  return Math.max(1, Math.floor(pods / services));
}

/** The number of Pods that `fill` makes: the same for each Service. */
export function podCount(size: ClusterSize): number {
  return size.services * podsPerService(size);
}

export function serviceOf(index: number): { readonly namespace: string; readonly name: string } {
  return { namespace: `team-${index % NAMESPACES}`, name: `app-${index}` };
}

export function placeOf(pod: number, size: ClusterSize): PodPlace {
  const { namespace, name } = serviceOf(Math.floor(pod / podsPerService(size)));
  const address = `10.${100 + (pod >> 16)}.${(pod >> 8) & 255}.${pod & 255}`;
  return { namespace, name: `${name}-5d4f8c7b9-${pod}`, serviceAccount: name, address };
}

/** A Pod as long as a real one: environment, volumes, probes, status of its containers. */
function podOf(index: number, size: ClusterSize): ApiObject {
  const { namespace, name, serviceAccount: app, address } = placeOf(index, size);
  const env = Array.from({ length: 20 }, (_, one) => ({
    name: `VARIABLE_${one}`,
    value: `value of ${app} ${one}`,
  }));
  const probe = { httpGet: { path: '/health', port: APP_PORT }, periodSeconds: 10, timeoutSeconds: 1 };
  const container = {
    ...{ name: 'app', image: `registry.example/${app}:1.0.0`, env },
    ...{ readinessProbe: probe, livenessProbe: probe, volumeMounts: [{ name: 'token' }] },
    ports: [{ name: 'http', containerPort: APP_PORT, protocol: 'TCP' }],
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
  };
  const managedFields = Array.from({ length: 4 }, (_, one) => ({
    ...{ manager: `manager-${one}`, operation: 'Update' },
    fieldsV1: Object.fromEntries(env.map(({ name: variable }) => [`f:${variable}`, {}])),
  }));
  return {
    metadata: {
      ...{ namespace, name, labels: { app }, managedFields },
      annotations: { 'heddle.dev/injected': 'true' },
    },
    spec: {
      ...{ nodeName: `node-${index % NODES}`, serviceAccountName: app },
      ...{ containers: [container], volumes: [{ name: 'token' }] },
    },
    status: {
      ...{ phase: 'Running', podIP: address, podIPs: [{ ip: address }] },
      containerStatuses: [
        { name: 'app', ready: true, restartCount: 0, containerID: `containerd://${index}` },
      ],
    },
  };
}

/** The endpoints of a Service; its first one is as ready as `firstReady` says. */
export function sliceOf(index: number, firstReady: boolean, size: ClusterSize): ApiObject {
  const { namespace, name } = serviceOf(index);
  const each = podsPerService(size);
  const endpoints = Array.from({ length: each }, (_, one) => {
    const pod = index * each + one;
    const place = placeOf(pod, size);
    const conditions = { ready: firstReady || one > 0, serving: true, terminating: false };
    const targetRef = { kind: 'Pod', namespace, name: place.name };
    return { addresses: [place.address], conditions, targetRef, nodeName: `node-${pod % NODES}` };
  });
  const labels = { 'kubernetes.io/service-name': name };
  return {
    ...{ metadata: { namespace, name: `${name}-x`, labels }, addressType: 'IPv4', endpoints },
    ports: [{ name: 'http', port: APP_PORT, protocol: 'TCP' }],
  } as ApiObject;
}

/** A route of the Service itself, for all of its clients; `seconds` is how long a request may take. */
export function routeOf(index: number, seconds: number): ApiObject {
  const { namespace, name } = serviceOf(index);
  const ref = { group: '', kind: 'Service', name, port: SERVICE_PORT };
  const rule = (path: string, timeout: number) => ({
    matches: [{ path: { type: 'PathPrefix', value: path } }],
    ...{ timeouts: { request: `${timeout}s` }, backendRefs: [{ name, port: SERVICE_PORT }] },
  });
  return {
    metadata: { namespace, name },
    spec: { parentRefs: [ref], rules: [rule('/reports', 10 * seconds), rule('/', seconds)] },
  };
}

/** Puts a whole cluster there. */
export function fill(api: FakeApi, size: ClusterSize): void {
  for (let team = 0; team < NAMESPACES; team++)
    api.put(KINDS.namespace, { metadata: { name: `team-${team}` } });
  for (let node = 0; node < NODES; node++) api.put(KINDS.node, { metadata: { name: `node-${node}` } });
  for (let index = 0; index < size.services; index++) {
    const { namespace, name } = serviceOf(index);
    const ports = [{ name: 'http', port: SERVICE_PORT, targetPort: APP_PORT, protocol: 'TCP' }];
    const clusterIP = `10.96.${index >> 8}.${index & 255}`;
    const spec = { type: 'ClusterIP', clusterIP, clusterIPs: [clusterIP], selector: { app: name }, ports };
    api.put(KINDS.service, { metadata: { namespace, name }, spec });
    api.put(KINDS.endpointSlice, sliceOf(index, true, size));
  }
  for (let index = 0; index < podCount(size); index++) api.put(KINDS.pod, podOf(index, size));
}

/** Has every kind that a control plane follows or writes installed, and the mesh's settings in place. */
export function prepare(api: FakeApi): void {
  const own = [KINDS.configMap, KINDS.secret, KINDS.lease, KINDS.event, KINDS.mutatingWebhook];
  for (const kind of [...MESH_KINDS.map((mesh) => mesh.kind), ...own]) api.install(kind);
  api.put(KINDS.configMap, {
    metadata: { namespace: 'heddle-system', name: 'heddle' },
    data: { 'mesh.yaml': '' },
  });
}

export function emptyCluster(): FakeApi {
  const api = new FakeApi([]);
  prepare(api);
  return api;
}
