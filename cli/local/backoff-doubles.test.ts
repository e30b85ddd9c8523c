import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ADMISSION_BACKOFF, Backoff, COMPONENT_BACKOFF, CONTAINER_BACKOFF } from './backoff.ts';

for (const [name, settings] of Object.entries({ ADMISSION_BACKOFF, COMPONENT_BACKOFF, CONTAINER_BACKOFF })) {
  test(`${name} doubles from its base up to its maximum and stays there`, () => {
    const backoff = new Backoff(settings);
    const delays = Array.from({ length: 40 }, () => backoff.next(0));
    assert.equal(delays[0], settings.baseMs);
    assert.equal(delays[1], settings.baseMs * 2);
    assert.ok(delays.every((delay, index) => delay >= (delays[index - 1] ?? 0)));
    assert.equal(delays.at(-1), settings.maxMs);
  });

  test(`${name} starts again after a long run`, () => {
    const backoff = new Backoff(settings);
    for (let failures = 0; failures < 5; failures++) backoff.next(0);
    assert.ok(backoff.next(settings.resetAfterMs - 1) > settings.baseMs);
    assert.equal(backoff.next(settings.resetAfterMs), settings.baseMs);
  });
}
