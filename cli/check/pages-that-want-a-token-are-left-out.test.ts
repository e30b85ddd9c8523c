import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leakCheck } from '../../test/support/leak-check.ts';
import { certificatesOf } from './cluster-check.ts';

leakCheck();

const NOW_MS = Date.parse('2026-01-01T00:00:00Z');

const answering = (status: number, body: unknown) => ({
  where: 'here',
  ask: async () => ({ status, headers: {}, text: JSON.stringify(body) }),
});
const refusal = { errors: [{ code: 401, msg: 'a token is needed' }] };

for (const status of [401, 403])
  test(`certificates that want a token (${status}) are a note, and no trouble of the sidecars`, async () => {
    const { answers, unasked } = await certificatesOf(
      answering(status, refusal),
      [{ pod: 'shop/a' }],
      NOW_MS,
    );
    assert.equal(answers.size, 0);
    assert.deepEqual(
      unasked.map(({ level }) => level),
      ['note'],
    );
    assert.match(unasked[0]?.message ?? '', /1 sidecars were not looked at: .*dashboardListen/);
  });

test('a sidecar that does not answer is one', async () => {
  const { answers, unasked } = await certificatesOf(answering(502, refusal), [{ pod: 'shop/a' }], NOW_MS);
  assert.match(answers.get('shop/a')?.error ?? '', /a token is needed/);
  assert.deepEqual(unasked, []);
});

test('one that does is asked for how long its certificate holds', async () => {
  const chain = [{ validTo: '2026-01-01T01:00:00Z' }];
  const { answers } = await certificatesOf(answering(200, { chain }), [{ pod: 'shop/a' }], NOW_MS);
  assert.equal(answers.get('shop/a')?.certificateSeconds, 3_600);
});
