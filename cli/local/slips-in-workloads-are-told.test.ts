import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifests } from '../../sources/files/parse.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { manifestProblems } from './manifest-problems.ts';

leakCheck();

function told(yaml: string): readonly string[] {
  const { objects, problems } = parseManifests(yaml, 'app.yaml');
  assert.deepEqual(problems, []);
  return manifestProblems(objects, 'loopback').map(
    ({ line, field, message }) => `${line} ${field}: ${message}`,
  );
}

test('fields that no workload has are told with their line and the one that was meant', () => {
  assert.deepEqual(
    told(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replica: 2
  replicas: -1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAcountName: web
      containers:
      - name: web
        comand: [node]
        readynessProbe: {tcpSocket: {port: 80}}
`),
    [
      '5 spec.replica: there is no such field (did you mean "replicas"?)',
      '6 spec.replicas: must be a whole number, 0 or more',
      '11 spec.template.spec.serviceAcountName: there is no such field (did you mean "serviceAccountName"?)',
      '14 spec.template.spec.containers[0].comand: there is no such field (did you mean "command"?)',
      '15 spec.template.spec.containers[0].readynessProbe: there is no such field (did you mean "readinessProbe"?)',
    ],
  );
});

test('values of a ConfigMap that are no texts are told', () => {
  const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: "1"\n  b: 1\n  c: true\n';
  assert.deepEqual(told(yaml), [
    '6 data.b: must be a text: put it in quotes',
    '7 data.c: must be a text: put it in quotes',
  ]);
});

test('sound Jobs, Pods and Deployments are told nothing', () => {
  assert.deepEqual(
    told(`apiVersion: batch/v1
kind: Job
metadata: {name: j}
spec: {backoffLimit: 1, template: {spec: {restartPolicy: Never, containers: [{name: j, image: x, command: [ls]}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeSelector: {a: b}, tolerations: [], containers: [{name: p, image: x, resources: {}}]}
`),
    [],
  );
});
