import { SYSTEM_NAMESPACE } from '../../../common/contracts.ts';
import type { JsonObject } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { KINDS } from '../../../sources/kubernetes/kinds.ts';
import type { FakeApi } from './fake-api.ts';

export const READY = { type: 'Ready', status: 'True' } as const;

/** A kubeconfig for a server that asks nobody who they are; without TLS it has to be insecure. */
export function kubeconfig(server: string): string {
  return JSON.stringify({
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
    clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'test', user: {} }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  });
}

/** A ready pod, or one that isn't, of the control plane. */
export function putControlPlane(api: FakeApi, name: string, ready = true): void {
  const labels = { 'app.kubernetes.io/name': 'heddle-control-plane' };
  api.put(KINDS.pod, {
    metadata: { name, namespace: SYSTEM_NAMESPACE, labels },
    status: { phase: 'Running', conditions: [ready ? READY : { ...READY, status: 'False' }] },
  });
}

/** What `heddle install` leaves on a cluster, as far as commands look at it. */
export function putInstallation(api: FakeApi, versions = '0.1.0'): void {
  const namespace = SYSTEM_NAMESPACE;
  const labels = { 'app.kubernetes.io/version': versions };
  const template = (container: string, image: string): JsonObject => ({
    spec: { containers: [{ name: container, image }] },
  });
  api.put(KINDS.service, {
    metadata: { name: 'heddle-control-plane', namespace },
    spec: { selector: { 'app.kubernetes.io/name': 'heddle-control-plane' } },
  });
  for (const [name, container] of [
    ['heddle-control-plane', 'control-plane'],
    ['heddle-injector', 'injector'],
  ] as const)
    api.put(KINDS.deployment, {
      metadata: { name, namespace, labels },
      spec: { replicas: 1, template: template(container, `r.example/heddle-control-plane:${versions}`) },
      status: { readyReplicas: 1 },
    });
  api.put(KINDS.daemonSet, {
    metadata: { name: 'heddle-cni', namespace, labels },
    spec: { template: template('agent', `r.example/heddle-cni:${versions}`) },
    status: { desiredNumberScheduled: 1, numberReady: 1 },
  });
  putControlPlane(api, 'heddle-control-plane-1');
}

export interface AgentPodOptions {
  readonly ready?: boolean;
  readonly running?: boolean;
  /** It is being deleted. */
  readonly ending?: boolean;
  readonly createdAt?: string;
}

/** A pod of the DaemonSet heddle-cni. */
export function agentPod(
  name: string,
  node: string,
  { ready = true, running = true, ending = false, createdAt = '2026-01-01T00:00:00Z' }: AgentPodOptions = {},
): Pick<KubeObject, 'metadata' | 'spec' | 'status'> {
  const labels = { 'app.kubernetes.io/name': 'heddle-cni' };
  const state: JsonObject = running ? { running: { startedAt: createdAt } } : { waiting: {} };
  return {
    metadata: {
      ...{ name, namespace: SYSTEM_NAMESPACE, labels, creationTimestamp: createdAt },
      ...(ending ? { deletionTimestamp: '2026-01-02T00:00:00Z' } : {}),
    },
    spec: { nodeName: node },
    status: {
      phase: running ? 'Running' : 'Pending',
      conditions: [ready ? READY : { ...READY, status: 'False' }],
      containerStatuses: [{ name: 'agent', ready, state }],
    },
  };
}
