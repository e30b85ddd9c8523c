import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { build, conditions, messages, mtlsPolicy, pod, WORLD } from '../../test/support/model-objects.ts';
import { UNSOUND_MTLS_POLICIES } from '../../test/support/policy-cases.ts';
import { buildMesh } from '../build.ts';
import type { SourcedObject } from '../objects.ts';
import { DEFAULT_MESH_SETTINGS } from '../settings.ts';

const DB = pod('db-1', '10.244.0.9', { labels: { app: 'db', tier: 'back' } });
const mesh = (mode: string, name = 'mesh') => mtlsPolicy({ mode }, name, { namespace: 'heddle-system' });
const shop = (spec: JsonObject, name = 'shop') => mtlsPolicy(spec, name);
const selecting = (labels: JsonObject, spec: JsonObject, name = 'pods') =>
  mtlsPolicy({ selector: { matchLabels: labels }, ...spec }, name);
/** The mode of port 8080 and of those that nothing is said about. */
const modes = (...policies: readonly SourcedObject[]) => {
  const inbound = build(DB, ...policies).inboundFor('shop/db-1');
  return [inbound?.ports.find(({ port }) => port === 8080)?.mode, inbound?.defaultMode];
};

const TABLE: readonly (readonly [string, readonly SourcedObject[], readonly string[]])[] = [
  ['nothing said', [], ['PERMISSIVE', 'PERMISSIVE']],
  ['the mesh', [mesh('STRICT')], ['STRICT', 'STRICT']],
  ['the namespace over the mesh', [mesh('STRICT'), shop({ mode: 'DISABLE' })], ['DISABLE', 'DISABLE']],
  [
    'the pod over the namespace',
    [shop({ mode: 'DISABLE' }), selecting({ app: 'db' }, {})],
    ['STRICT', 'STRICT'],
  ],
  ['several labels', [selecting({ app: 'db', tier: 'back' }, { mode: 'STRICT' })], ['STRICT', 'STRICT']],
  [
    'labels of another pod',
    [selecting({ app: 'db', tier: 'front' }, { mode: 'STRICT' })],
    ['PERMISSIVE', 'PERMISSIVE'],
  ],
  ['an empty selector, which is the namespace', [selecting({}, { mode: 'STRICT' })], ['STRICT', 'STRICT']],
  ['no mode, which is STRICT', [shop({})], ['STRICT', 'STRICT']],
  ['a port', [shop({ mode: 'STRICT', portModes: [{ port: 8080, mode: 'DISABLE' }] })], ['DISABLE', 'STRICT']],
  [
    "a port of the namespace, which the pod's own policy hides",
    [
      shop({ portModes: [{ port: 8080, mode: 'DISABLE' }] }),
      selecting({ app: 'db' }, { mode: 'PERMISSIVE' }),
    ],
    ['PERMISSIVE', 'PERMISSIVE'],
  ],
  [
    'another namespace',
    [mtlsPolicy({ mode: 'STRICT' }, 'x', { namespace: 'far' })],
    ['PERMISSIVE', 'PERMISSIVE'],
  ],
  [
    'pods of the system namespace only, where it selects',
    [mtlsPolicy({ selector: { matchLabels: { app: 'db' } } }, 'x', { namespace: 'heddle-system' })],
    ['PERMISSIVE', 'PERMISSIVE'],
  ],
];
for (const [name, policies, wanted] of TABLE) {
  test(`the mode is that of ${name}`, () => assert.deepEqual(modes(...policies), wanted));
}

test("the mesh's setting holds where no policy does", () => {
  const strict = buildMesh([...WORLD, DB], { ...DEFAULT_MESH_SETTINGS, mtlsMode: 'STRICT' });
  assert.equal(strict.inboundFor('shop/db-1')?.defaultMode, 'STRICT');
});

test('of two policies for the same pods the older holds, and the other is told', () => {
  const at = (creationTimestamp: string) => ({ namespace: 'shop', creationTimestamp });
  const younger = mtlsPolicy({ mode: 'STRICT' }, 'a', at('2026-01-02T00:00:00Z'));
  const older = mtlsPolicy({ mode: 'DISABLE' }, 'b', at('2026-01-01T00:00:00Z'));
  assert.deepEqual(modes(younger, older), ['DISABLE', 'DISABLE']);
  const judged = build(DB, younger, older);
  assert.deepEqual(conditions(judged), ['Accepted True Accepted', 'Accepted False Conflicted']);
  assert.match(messages(judged), /the older MTLSPolicy b applies to Namespace shop already/);
});

test('of two policies that select a pod by different labels the older holds', () => {
  const at = (creationTimestamp: string) => ({ namespace: 'shop', creationTimestamp });
  const by = (labels: JsonObject, mode: string, name: string, time: string) =>
    mtlsPolicy({ selector: { matchLabels: labels }, mode }, name, at(time));
  const policies = [
    by({ app: 'db' }, 'STRICT', 'a', '2026-01-02T00:00:00Z'),
    by({ tier: 'back' }, 'DISABLE', 'b', '2026-01-01T00:00:00Z'),
  ];
  assert.deepEqual(modes(...policies), ['DISABLE', 'DISABLE']);
  assert.deepEqual(conditions(build(DB, ...policies)), ['Accepted True Accepted', 'Accepted True Accepted']);
});

for (const [spec, field] of UNSOUND_MTLS_POLICIES) {
  test(`${JSON.stringify(spec).slice(0, 80)} is refused as a whole, and ${field} is to blame`, () => {
    const judged = build(DB, shop(spec));
    assert.deepEqual(conditions(judged), ['Accepted False UnsupportedValue']);
    assert.ok(
      judged.problems.some((problem) => problem.field === field),
      JSON.stringify(judged.problems),
    );
    assert.equal(judged.inboundFor('shop/db-1')?.defaultMode, 'PERMISSIVE');
  });
}
