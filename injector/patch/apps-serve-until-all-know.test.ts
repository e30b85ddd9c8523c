import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { objectsOf, recordOf } from '../../model/read/meta.ts';
import { INJECTION_OPTIONS } from '../../test/support/injection-cases.ts';
import { patched } from '../../test/support/injection-simulator.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { injectPod } from './inject.ts';
import { shutdownDelaySecondsMax } from './shutdown.ts';

leakCheck();

interface Case {
  readonly lifecycle?: JsonObject;
  readonly spec?: JsonObject;
  readonly delay?: string;
}

const podOf = ({ lifecycle, spec = {}, delay }: Case): JsonObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', annotations: delay === undefined ? {} : { 'heddle.dev/shutdown-delay': delay } },
  spec: {
    containers: [{ name: 'app', image: 'app:1', ...(lifecycle === undefined ? {} : { lifecycle }) }],
    ...spec,
  },
});
const inject = (one: Case) => injectPod(podOf(one), { ...INJECTION_OPTIONS, namespace: 'shop' });

function lifecycleOf(one: Case): unknown {
  const pod = podOf(one);
  const injection = inject(one);
  assert.equal(injection.kind, 'patch');
  if (injection.kind !== 'patch') return undefined;
  return objectsOf(recordOf(patched(pod, injection.operations).spec).containers)[0]?.lifecycle;
}
const sleeps = (seconds: number) => ({ preStop: { sleep: { seconds } } });

test('an app serves for five seconds after its pod is to end', () => {
  assert.deepEqual(lifecycleOf({}), sleeps(5));
  assert.deepEqual(lifecycleOf({ spec: { restartPolicy: 'Always' } }), sleeps(5));
});

test('the delay leaves the app two thirds of its grace period', () => {
  assert.deepEqual(lifecycleOf({ spec: { terminationGracePeriodSeconds: 10 } }), sleeps(3));
  assert.equal(lifecycleOf({ spec: { terminationGracePeriodSeconds: 2 } }), undefined);
  assert.equal(lifecycleOf({ spec: { terminationGracePeriodSeconds: 0 } }), undefined);
});

test('hooks of the pod itself stay as they are', () => {
  const preStop = { exec: { command: ['/stop'] } };
  assert.deepEqual(lifecycleOf({ lifecycle: { preStop } }), { preStop });
  const postStart = { exec: { command: ['/start'] } };
  assert.deepEqual(lifecycleOf({ lifecycle: { postStart } }), { postStart, ...sleeps(5) });
});

test('pods that end by themselves have no delay', () => {
  for (const restartPolicy of ['Never', 'OnFailure'])
    assert.equal(lifecycleOf({ spec: { restartPolicy } }), undefined);
});

test('an annotation says another delay, or none', () => {
  assert.deepEqual(lifecycleOf({ delay: '2' }), sleeps(2));
  assert.equal(lifecycleOf({ delay: '0' }), undefined);
  const spec = { terminationGracePeriodSeconds: 600 };
  assert.deepEqual(lifecycleOf({ delay: `${shutdownDelaySecondsMax}`, spec }), sleeps(60));
  for (const delay of [`${shutdownDelaySecondsMax + 1}`, 'soon', '-1', '']) {
    const injection = inject({ delay });
    assert.equal(injection.kind, 'refuse');
    if (injection.kind === 'refuse')
      assert.match(injection.message, /shutdown-delay must be seconds from 0 to 60/);
  }
});
