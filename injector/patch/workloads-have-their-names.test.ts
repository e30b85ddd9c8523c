import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { controllerName } from './service-name.ts';

leakCheck();

const owned = (kind: string, name: string, labels: JsonObject = {}): JsonObject => ({
  name: 'some-pod-x7k2p',
  labels,
  ownerReferences: [
    { kind: 'Application', name: 'no-controller' },
    { kind, name, controller: true },
  ],
});

const CASES: readonly (readonly [what: string, metadata: JsonObject, name: string | undefined])[] = [
  ['a Deployment', owned('ReplicaSet', 'web-6d4cf56db6', { 'pod-template-hash': '6d4cf56db6' }), 'web'],
  ['a Rollout', owned('ReplicaSet', 'web-7f9c', { 'rollouts-pod-template-hash': '7f9c' }), 'web'],
  ["a ReplicaSet that is nobody's", owned('ReplicaSet', 'web-6d4cf56db6'), 'web-6d4cf56db6'],
  ['a ReplicaSet with the label of another', owned('ReplicaSet', 'web', { 'pod-template-hash': 'x' }), 'web'],
  ['a StatefulSet', owned('StatefulSet', 'orders-db'), 'orders-db'],
  ['a DaemonSet', owned('DaemonSet', 'logs'), 'logs'],
  ['a ReplicationController', owned('ReplicationController', 'old'), 'old'],
  ['a kind of somebody else', owned('Workflow', 'train'), 'train'],
  ['a Job', owned('Job', 'report'), 'report'],
  ['a Job with a number', owned('Job', 'report-12'), 'report-12'],
  ['a Job with a date', owned('Job', 'report-20260131'), 'report-20260131'],
  ["a CronJob's Job", owned('Job', 'backup-29876543'), 'backup'],
  ['a CronJob with a number in its name', owned('Job', 'backup-2-29876543'), 'backup-2'],
  ['a Job that is a number', owned('Job', '29876543'), '29876543'],
  ['nobody', { name: 'hello' }, undefined],
  ['an owner that controls nothing', { ownerReferences: [{ kind: 'Job', name: 'report' }] }, undefined],
  ['its node', owned('Node', 'node-1'), undefined],
  ['an owner without a name', { ownerReferences: [{ kind: 'Job', controller: true }] }, undefined],
  ['what is no list', { ownerReferences: 'report', labels: 7 }, undefined],
];

for (const [what, metadata, name] of CASES)
  test(`a pod of ${what} is traced as ${name ?? 'itself'}`, () => {
    assert.equal(controllerName(metadata), name);
  });
