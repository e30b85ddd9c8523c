import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../model/objects.ts';
import { trimNode, trimObject, trimPod } from './trim.ts';

const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

function object(
  kind: string,
  rest: Omit<KubeObject, 'apiVersion' | 'kind' | 'metadata'>,
  metadata = {},
): KubeObject {
  return { apiVersion: 'v1', kind, metadata: { name: 'a', namespace: 'shop', ...metadata }, ...rest };
}

test('nobody asks who set a field, what kubectl remembers, or which version it was', () => {
  const annotations = { [LAST_APPLIED]: '{}', kept: 'yes' };
  const metadata = { annotations, managedFields: [{}], resourceVersion: '7', uid: 'u', generation: 2 };
  assert.deepEqual(
    trimObject(object('Service', { spec: { a: 1 } }, metadata)),
    object('Service', { spec: { a: 1 } }, { annotations: { kept: 'yes' }, uid: 'u', generation: 2 }),
  );
});

test('the heartbeat of a Node is no change of it', () => {
  const node = (lastHeartbeatTime: string) =>
    object('Node', {
      spec: { podCIDRs: ['10.244.1.0/24'] },
      status: {
        ...{ addresses: [{ type: 'InternalIP', address: '10.0.0.1' }], images: [{ names: ['a'] }] },
        conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime }],
      },
    });
  const trimmed = trimNode(node('2026-01-01T00:00:00Z'));
  assert.deepEqual(trimmed, trimNode(node('2026-01-01T00:05:00Z')));
  assert.deepEqual(trimmed.status, {
    addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
    conditions: [{ type: 'Ready', status: 'True' }],
  });
});

test('a Pod keeps what mesh and pod network go by, and none of its environment', () => {
  const ports = [{ name: 'http', containerPort: 80, hostPort: 8080 }];
  const sidecar = { name: 'heddle-proxy', restartPolicy: 'Always', ports };
  const spec = { nodeName: 'n1', serviceAccountName: 'cart', hostNetwork: false };
  const status = { phase: 'Running', podIP: '10.244.1.2', podIPs: [{ ip: '10.244.1.2' }] };
  const containerStatuses = [{ name: 'app', containerID: 'containerd://1', ready: true, restartCount: 0 }];
  const pod = object('Pod', {
    spec: {
      ...{ ...spec, volumes: [{ name: 'v' }] },
      initContainers: [{ ...sidecar, env: [{ name: 'A' }] }],
      containers: [
        { name: 'app', image: 'i', ports, env: [{ name: 'SECRET', value: 'x' }], volumeMounts: [] },
      ],
    },
    status: {
      ...status,
      qosClass: 'Burstable',
      containerStatuses: [{ ...containerStatuses[0], imageID: 'i' }],
    },
  });
  assert.deepEqual(
    trimPod(pod),
    object('Pod', {
      spec: { ...spec, initContainers: [sidecar], containers: [{ name: 'app', image: 'i', ports }] },
      status: { ...status, containerStatuses },
    }),
  );
});
