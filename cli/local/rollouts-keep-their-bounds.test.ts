import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { planRollout, type RolloutPod, type RolloutSettings, rolloutBounds } from './rollout.ts';

const settings = (part: Partial<RolloutSettings> = {}): RolloutSettings => ({
  ...{ replicas: 3, strategy: 'RollingUpdate', maxSurge: '25%', maxUnavailable: '25%' },
  ...part,
});
const pod = (name: string, part: Partial<RolloutPod> = {}): RolloutPod => ({
  ...{ name, current: true, ready: true, terminating: false, createdAtMs: Number(name.replace(/\D/g, '')) },
  ...part,
});

test('a new Deployment gets its pods at once', () => {
  assert.deepEqual(planRollout(settings(), []), { create: 3, remove: [] });
});

test('a Deployment at rest is left alone', () => {
  assert.deepEqual(planRollout(settings(), [pod('a1'), pod('a2'), pod('a3')]), { create: 0, remove: [] });
});

test('scaling down takes pods that are not ready first, then the youngest', () => {
  const pods = [pod('a1'), pod('a2'), pod('a3', { ready: false }), pod('a4')];
  assert.deepEqual(planRollout(settings({ replicas: 3 }), pods).remove, ['a3']);
  assert.deepEqual(planRollout(settings({ replicas: 1 }), pods).remove, ['a3', 'a4', 'a2']);
  assert.deepEqual(planRollout(settings({ replicas: 0 }), pods).remove.toSorted(), ['a1', 'a2', 'a3', 'a4']);
});

test('an update makes a new pod beside the old ones, and an old one goes once it is ready', () => {
  const old = [1, 2, 3].map((n) => pod(`o${n}`, { current: false }));
  assert.deepEqual(planRollout(settings(), old), { create: 1, remove: [] });
  assert.deepEqual(planRollout(settings(), [...old, pod('n4', { ready: false })]), { create: 0, remove: [] });
  assert.deepEqual(planRollout(settings(), [...old, pod('n4')]), { create: 0, remove: ['o3'] });
});

test('old pods that serve nobody go at once, whatever the new ones do', () => {
  const pods = [pod('o1', { current: false, ready: false }), pod('o2', { current: false })];
  assert.ok(planRollout(settings({ replicas: 2 }), pods).remove.includes('o1'));
});

test('Recreate waits until the last old pod is gone', () => {
  const recreate = settings({ strategy: 'Recreate' });
  const old = pod('o1', { current: false });
  assert.deepEqual(planRollout(recreate, [old]), { create: 0, remove: ['o1'] });
  assert.deepEqual(planRollout(recreate, [{ ...old, terminating: true }]), { create: 0, remove: [] });
  assert.deepEqual(planRollout(recreate, []), { create: 3, remove: [] });
});

test('percentages are rounded as Kubernetes rounds them, and never stand still', () => {
  assert.deepEqual(rolloutBounds(settings({ replicas: 10 })), { surge: 3, unavailable: 2 });
  assert.deepEqual(rolloutBounds(settings({ replicas: 1 })), { surge: 1, unavailable: 0 });
  assert.deepEqual(rolloutBounds(settings({ maxSurge: 0, maxUnavailable: 0 })), { surge: 0, unavailable: 1 });
  assert.deepEqual(rolloutBounds(settings({ maxSurge: 'many', maxUnavailable: 2 })), {
    surge: 0,
    unavailable: 2,
  });
});

const amounts = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constantFrom('0%', '25%', '50%', '100%'));

test('from any state, an update ends with its replicas and keeps both bounds on the way', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      amounts,
      amounts,
      fc.integer({ min: 0, max: 6 }),
      fc.infiniteStream(fc.nat(5)),
      (replicas, maxSurge, maxUnavailable, oldCount, choices) => {
        const wanted = settings({ replicas, maxSurge, maxUnavailable });
        const bounds = rolloutBounds(wanted);
        let pods = Array.from({ length: Math.min(oldCount, replicas) }, (_, n) =>
          pod(`o${n}`, { current: false }),
        );
        let serial = 100;
        for (let step = 0; step < 200; step++) {
          const readyBefore = pods.filter((one) => one.ready).length;
          const plan = planRollout(wanted, pods);
          pods = pods.filter((one) => !plan.remove.includes(one.name));
          const removedReady = readyBefore - pods.filter((one) => one.ready).length;
          for (let made = 0; made < plan.create; made++) pods.push(pod(`n${serial++}`, { ready: false }));
          assert.ok(pods.length <= replicas + bounds.surge, `${pods.length} pods`);
          if (removedReady > 0)
            assert.ok(pods.filter((one) => one.ready).length >= replicas - bounds.unavailable);
          const waiting = pods.filter((one) => !one.ready);
          const chosen = waiting[(choices.next().value ?? 0) % Math.max(1, waiting.length)];
          pods = pods.map((one) => (one === chosen ? { ...one, ready: true } : one));
          if (plan.create === 0 && plan.remove.length === 0 && waiting.length === 0) break;
        }
        assert.equal(pods.length, replicas);
        assert.ok(pods.every((one) => one.current && one.ready));
      },
    ),
  );
});
