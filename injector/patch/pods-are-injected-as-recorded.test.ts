import assert from 'node:assert/strict';
import { test } from 'node:test';
import { injectionCases, updateInjectionCase } from '../../test/support/injection-cases.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { injectPod } from './inject.ts';

leakCheck();

/** `UPDATE_GOLDENS=1` records what is made of the pods now; the difference is then read in review. */
const updates = process.env.UPDATE_GOLDENS === '1';

for (const { name, about, pod, options, expected } of injectionCases()) {
  test(`${name}: ${about}`, () => {
    const before = JSON.stringify(pod);
    const injection = injectPod(pod, options);
    assert.equal(JSON.stringify(pod), before, 'the pod itself is left as it is');
    if (updates) updateInjectionCase(name, injection);
    else assert.deepEqual(JSON.parse(JSON.stringify(injection)), expected);
  });
}
