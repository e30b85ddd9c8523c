import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../model/objects.ts';
import { parseManifests } from '../../sources/files/parse.ts';
import { type DescriptionView, describeObject } from './description.ts';

const [service, slice, deployment, pod, route] = parseManifests(
  `apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: LoadBalancer, clusterIP: 10.96.0.9, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {port: 81}]}
status: {loadBalancer: {ingress: [{ip: 127.0.0.1, ports: [{port: 10080}]}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
ports: [{port: 8080}, {port: 8080}]
endpoints: [{addresses: [127.244.0.1], conditions: {ready: true}, targetRef: {name: web-a}}, {addresses: [127.244.0.2], conditions: {ready: false}, targetRef: {name: web-b}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web, tier: front}}
spec: {replicas: 2, selector: {matchLabels: {app: web}}}
status: {readyReplicas: 1, updatedReplicas: 2, conditions: [{type: Available, status: "False", message: not yet}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-b, namespace: shop, labels: {app: web}}
status:
  phase: Running
  reason: CrashLoopBackOff
  message: container app ended with exit code 1
  containerStatuses: [{name: app, ready: false, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: shop}
spec: {rules: [{name: a}]}
`,
  'm.yaml',
).objects.map((one) => one.object);
const objects = [service, slice, deployment, pod, route].filter((one) => one !== undefined);
const described = (object: KubeObject | undefined, part: Partial<DescriptionView> = {}) =>
  describeObject(object ?? assert.fail(), { objects, origin: undefined, problems: [], ...part });

test('a Service shows its ports, where it is published and the pods behind it', () => {
  const text = described(service);
  assert.match(text, /^Name: {8}web\nNamespace: {3}shop\nKind: {8}Service \(v1\)\n/);
  assert.match(text, /Ports: {7}http 80 → 8080\n {13}<unnamed> 81 → 81\n/);
  assert.match(text, /Published: {3}http:\/\/127\.0\.0\.1:10080/);
  assert.match(text, /127\.244\.0\.1:8080 \(web-a\)\n +127\.244\.0\.2:8080 \(web-b, not ready\)/);
});

test('a Deployment shows its counts, its pods and its conditions', () => {
  const text = described(deployment);
  assert.match(text, /Labels: +app=web\n +tier=front\n/);
  assert.match(text, /Replicas: +2 wanted, 2 up to date, 1 ready/);
  assert.match(text, /Pods: +web-b \(not ready\)/);
  assert.match(text, /Conditions:\n {2}Available {8}False {4}not yet\n/);
});

test('a pod shows its containers and why it is not ready', () => {
  const text = described(pod);
  assert.match(text, /Reason: +CrashLoopBackOff: container app ended with exit code 1/);
  assert.match(text, /Containers: +app: CrashLoopBackOff, not ready, 1 restart\n/);
});

test('another kind shows its spec, where it is written and what is wrong with it', () => {
  const text = described(route, { origin: 'routes.yaml:3', problems: ['routes.yaml:5: is wrong'] });
  assert.match(text, /Manifest: +routes\.yaml:3/);
  assert.match(text, /Spec: +rules:\n +- name: a\n/);
  assert.match(text, /Problems:\n {2}routes\.yaml:5: is wrong\n$/);
});
