import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A pod as the local mesh's runtime directory describes it. */
export interface PodRecord {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly ip: string;
  readonly meshed: boolean;
  readonly port: number;
  /** Whether its deletion has begun. */
  readonly terminating?: boolean;
}

export interface ServiceRecord {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly targetPort: number;
  readonly selector: Readonly<Record<string, string>>;
  /** Default `http`. */
  readonly portName?: string;
  readonly clusterIp: string;
}

/** Writes whole files only: a reader sees the old content or the new, never a part. */
export function writeManifest(directory: string, name: string, text: string): void {
  mkdirSync(directory, { recursive: true });
  const temporary = join(directory, `.${name}.tmp`);
  writeFileSync(temporary, text);
  renameSync(temporary, join(directory, name));
}

export function removeManifest(directory: string, name: string): void {
  rmSync(join(directory, name), { force: true });
}

export function podObject(pod: PodRecord): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: pod.name,
      namespace: pod.namespace,
      uid: `${pod.namespace}-${pod.name}`,
      labels: pod.labels,
      annotations: pod.meshed ? { 'heddle.dev/injected': 'default' } : {},
      ...(pod.terminating === true ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: {
      serviceAccountName: pod.serviceAccount,
      nodeName: 'node-1',
      containers: [{ name: 'app', image: 'app', ports: [{ name: 'http', containerPort: pod.port }] }],
    },
    status: {
      phase: 'Running',
      podIP: pod.ip,
      podIPs: [{ ip: pod.ip }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

export function serviceObject(service: ServiceRecord): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: service.name, namespace: service.namespace },
    spec: {
      clusterIP: service.clusterIp,
      clusterIPs: [service.clusterIp],
      selector: service.selector,
      ports: [{ name: service.portName ?? 'http', port: service.port, targetPort: service.targetPort }],
    },
  };
}

export function endpointSliceObject(service: ServiceRecord, pods: readonly PodRecord[]): object {
  const selected = pods.filter(
    (pod) =>
      pod.namespace === service.namespace &&
      Object.entries(service.selector).every(([key, value]) => pod.labels[key] === value),
  );
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service.name}-1`,
      namespace: service.namespace,
      labels: { 'kubernetes.io/service-name': service.name },
    },
    addressType: 'IPv4',
    ports: [{ name: service.portName ?? 'http', port: service.targetPort, protocol: 'TCP' }],
    endpoints: selected.map((pod) => ({
      addresses: [pod.ip],
      nodeName: 'node-1',
      conditions: {
        ready: pod.terminating !== true,
        serving: true,
        terminating: pod.terminating === true,
      },
      targetRef: { kind: 'Pod', name: pod.name, namespace: pod.namespace },
    })),
  };
}
