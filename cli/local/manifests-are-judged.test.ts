import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../model/objects.ts';
import { parseManifests } from '../../sources/files/parse.ts';
import { kindProblem, manifestProblems } from './manifest-problems.ts';
import { News } from './news.ts';

const problems = (yaml: string) =>
  manifestProblems(parseManifests(yaml, '/m/a.yaml').objects, 'loopback').map(
    ({ line, object, field, message }) => `${line} ${object} ${field ?? '-'} ${message}`,
  );

test('sound manifests give no problems', () => {
  const text = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {replicas: 2, template: {spec: {containers: [{name: a, ports: [{containerPort: 1}]}]}}}
`;
  assert.deepEqual(problems(text), []);
});

test('kinds without effect are named with what works instead', () => {
  assert.match(
    problems('apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n')[0] ?? '',
    /no Secrets; a ConfigMap/,
  );
  const stateful = 'apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\n';
  assert.match(problems(stateful)[0] ?? '', /^1 StatefulSet default\/s - has no effect here/);
});

const named = (apiVersion: string, kind: string): KubeObject => ({
  apiVersion,
  kind,
  metadata: { name: 'x' },
});

test("a misspelt kind of ours and one of the wrong group are errors, somebody else's only has no effect", () => {
  const told = (apiVersion: string, kind: string) => {
    const { severity, message } = kindProblem(named(apiVersion, kind), 'loopback') ?? {};
    return `${severity} ${message}`;
  };
  assert.equal(
    told('heddle.dev/v1alpha1', 'TraficPolicy'),
    'error there is no kind TraficPolicy in heddle.dev/v1alpha1 (did you mean "TrafficPolicy"?)',
  );
  assert.equal(
    told('v1', 'HTTPRoute'),
    'error HTTPRoute is of the group "gateway.networking.k8s.io", not ""',
  );
  assert.equal(told('heddle.dev/v1alpha1', 'Zebra'), 'error there is no kind Zebra in heddle.dev/v1alpha1');
  assert.equal(
    told('example.com/v1', 'Widget'),
    'warning has no effect here: the mesh does not read this kind',
  );
  assert.equal(kindProblem(named('apps/v1', 'Deployment'), 'loopback'), undefined);
});

test('fields that are not honoured are told with their line', () => {
  const text = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  paused: true
  minReadySeconds: 5
  template:
    spec:
      hostNetwork: true
      containers:
      - name: a
        lifecycle: {postStart: {exec: {command: [x]}}}
        ports:
        - {containerPort: 1, hostPort: 1}
`;
  assert.deepEqual(
    problems(text).map((line) => line.split(' ').slice(0, 4).join(' ')),
    [
      '5 Deployment default/web spec.paused',
      '6 Deployment default/web spec.minReadySeconds',
      '9 Deployment default/web spec.template.spec.hostNetwork',
      '12 Deployment default/web spec.template.spec.containers[0].lifecycle.postStart',
      '14 Deployment default/web spec.template.spec.containers[0].ports[0].hostPort',
    ],
  );
});

test('the same fields at values that change nothing are fine', () => {
  const text =
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {paused: false, minReadySeconds: 0}\n';
  assert.deepEqual(problems(text), []);
  const jobs =
    'apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {parallelism: 1, completions: 1}\n';
  assert.deepEqual(problems(jobs), []);
});

test('a namespace that no manifest holds is told', () => {
  const text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shpo}\n';
  assert.match(problems(text)[0] ?? '', /metadata\.namespace namespace shpo is in no manifest/);
});

const route = (value: number, more: Partial<KubeObject> = {}): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'HTTPRoute', metadata: { name: 'r', namespace: 'shop' }, spec: { value } },
  ...more,
});

test('what changes while the mesh runs is one line; the first state is none', () => {
  const news = new News('/m');
  assert.equal(news.changes([route(1)]), undefined);
  assert.equal(news.changes([route(1, { status: { seen: true } })]), undefined, 'a status is no change');
  assert.equal(news.changes([route(2)]), 'changed: HTTPRoute shop/r');
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } };
  assert.equal(news.changes([namespace]), 'new: Namespace shop; gone: HTTPRoute shop/r');
});

test('many changes are counted', () => {
  const news = new News('/m');
  news.changes([]);
  const many = Array.from({ length: 9 }, (_, n) =>
    route(1, { metadata: { name: `r${n}`, namespace: 'shop' } }),
  );
  assert.match(news.changes(many) ?? '', /^new: HTTPRoute shop\/r0, .* and 3 more$/);
});

test('a problem is told once, and again after it had gone', () => {
  const news = new News('/m');
  const problem = { severity: 'error' as const, source: '/m/a.yaml', line: 3, message: 'is wrong' };
  assert.deepEqual(news.problems([problem]), ['a.yaml:3: is wrong']);
  assert.deepEqual(news.problems([problem]), []);
  assert.deepEqual(news.problems([]), []);
  assert.deepEqual(news.problems([problem]), ['a.yaml:3: is wrong']);
});

test('on a pod network of nodes, node ports, host ports and policies have their effect', () => {
  const yaml = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, externalIPs: [192.0.2.1], ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent}
spec:
  hostNetwork: true
  containers:
  - {name: agent, command: [agent], ports: [{containerPort: 80, hostPort: 80}]}
`;
  const { objects } = parseManifests(yaml, '/m/a.yaml');
  assert.deepEqual(manifestProblems(objects, 'ebpf'), []);
  assert.equal(manifestProblems(objects, 'loopback').length, 5, 'and none in loopback mode');
});
