import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ENVIRONMENT, RECIPES } from './heddle-images.ts';

const DOCKERFILE = readFileSync(new URL('../../images/Dockerfile', import.meta.url), 'utf8');
const STAGES = new Map(
  DOCKERFILE.split(/^FROM /m)
    .slice(1)
    .map((text) => [/ AS (\S+)/.exec(text)?.[1] ?? '', text]),
);

function words(stage: string, instruction: string): unknown {
  const list = new RegExp(`^${instruction} (\\[.*\\])$`, 'm').exec(stage)?.[1];
  return list === undefined ? undefined : JSON.parse(list);
}

for (const { name, title, entrypoint, cmd, uid } of RECIPES) {
  test(`the Dockerfile gives ${name} what the script gives it`, () => {
    const stage = STAGES.get(name) ?? '';
    assert.deepEqual([words(stage, 'ENTRYPOINT'), words(stage, 'CMD')], [entrypoint, cmd]);
    assert.match(stage, new RegExp(`^USER ${uid}:${uid}$`, 'm'));
    assert.ok(stage.includes(`COPY --from=build /roots/${name}/ /\n`));
    for (const [key, value] of Object.entries({ title: name, description: title }))
      assert.ok(stage.includes(`org.opencontainers.image.${key}="${value}"`), key);
    const environment = Object.entries(ENVIRONMENT).map(([key, value]) => `${key}=${value}`);
    assert.ok(stage.includes(`ENV ${environment.join(' ')}\n`));
  });
}

test('the Dockerfile has no image more', () => {
  assert.deepEqual([...STAGES.keys()], ['build', ...RECIPES.map(({ name }) => name)]);
});
