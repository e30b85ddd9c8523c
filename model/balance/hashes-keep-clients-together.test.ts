import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../common/random.ts';
import { request } from '../../test/support/model-objects.ts';
import type { DecisionState, RequestView } from '../decision-types.ts';
import { DEFAULT_CLUSTER_POLICY, type HashKey } from '../policy-types.ts';
import type { Cluster, Endpoint } from '../snapshot.ts';
import { idleState } from '../state.ts';
import { pickEndpoint } from './pick.ts';

const KEYS = 10_000;

function cluster(count: number, hash: HashKey = { from: 'sourceIp' }, weightOfFirst = 1): Cluster {
  const endpoints = Array.from({ length: count }, (_, index): Endpoint => {
    const key = `10.244.0.${index}:8080`;
    return {
      ...{ key, address: key, port: 8080, pod: undefined, node: undefined, zone: undefined, health: 'ready' },
      ...{ weight: index === 0 ? weightOfFirst : 1, mtls: false, identities: [] },
    };
  });
  const policy = { ...DEFAULT_CLUSTER_POLICY, loadBalancer: { policy: 'Maglev' as const, hash } };
  return { name: 'c', namespace: 'n', service: 's', port: 1, protocol: 'http', policy, endpoints };
}

const random = seededRandom(1);
/** The endpoint of each of many clients. */
function placed(
  of: Cluster,
  state: Partial<DecisionState> = {},
  tried?: readonly string[],
): readonly string[] {
  return Array.from({ length: KEYS }, (_, index) => {
    const from = `10.1.${index >> 8}.${index & 255}`;
    const picked = pickEndpoint(of, undefined, from, { ...idleState(), ...state }, 0, random, tried);
    return typeof picked === 'string' ? picked : picked.key;
  });
}
const countOf = (all: readonly string[], key: string) => all.filter((one) => one === key).length;

test('clients are spread evenly, by weight', () => {
  for (const weight of [1, 4]) {
    const all = placed(cluster(10, undefined, weight));
    for (let index = 0; index < 10; index++) {
      const wanted = (KEYS * (index === 0 ? weight : 1)) / (9 + weight);
      const found = countOf(all, `10.244.0.${index}:8080`);
      assert.ok(
        Math.abs(found - wanted) < wanted * 0.15,
        `${index} of weight ${weight}: ${found} of ${wanted}`,
      );
    }
  }
});

test('when an endpoint goes its clients move and few others do; when it comes back all is as before', () => {
  const whole = cluster(10);
  const before = placed(whole);
  const gone = '10.244.0.3:8080';
  const after = placed({ ...whole, endpoints: whole.endpoints.filter(({ key }) => key !== gone) });
  const moved = before.filter((key, index) => key !== gone && key !== after[index]).length;
  assert.ok(moved < KEYS * 0.1, `${moved} of ${KEYS} moved without need`);
  assert.deepEqual(placed(cluster(10)), before);
});

test("an ejected endpoint's clients are spread over the others, and nobody else moves", () => {
  const whole = cluster(10);
  const before = placed(whole);
  const ejected = '10.244.0.3:8080';
  const after = placed(whole, { ejected: (_, key) => key === ejected });
  for (const [index, key] of before.entries()) if (key !== ejected) assert.equal(after[index], key);
  const heirs = new Set(after.filter((_, index) => before[index] === ejected));
  assert.equal(heirs.size, 9);
  assert.equal(heirs.has(ejected), false);
});

test('a retry goes elsewhere, always to the same place', () => {
  const whole = cluster(3);
  const tried = ['10.244.0.1:8080'];
  const [first, second] = [placed(whole, {}, tried), placed(whole, {}, tried)];
  assert.equal(countOf(first, '10.244.0.1:8080'), 0);
  assert.deepEqual(second, first);
});

test('picking past ejected endpoints makes no new table for each request', () => {
  const whole = cluster(400);
  const state = { ejected: (_: string, key: string) => key.endsWith('7:8080') };
  placed(whole, state);
  const start = process.cpuUsage();
  placed(whole, state);
  const us = process.cpuUsage(start).user / KEYS;
  assert.ok(us < 100, `${us} µs a pick; a table of 4,099 places alone takes more`);
});

const SOURCES: readonly (readonly [HashKey, RequestView, RequestView, RequestView])[] = [
  [
    { from: 'header', name: 'x-user' },
    ...([
      request('GET /', { 'x-user': 'a' }),
      request('GET /?q', { 'x-user': 'a' }),
      request('GET /', { 'x-user': 'b' }),
    ] as const),
  ],
  [
    { from: 'query', name: 'u' },
    ...([request('GET /?u=a'), request('GET /x?v=1&u=a&u=b'), request('GET /?u=b')] as const),
  ],
  [
    { from: 'cookie', name: 'u' },
    ...([
      request('GET /', { cookie: 'u=a' }),
      request('GET /', { cookie: 'xu=b; u=a; v=c' }),
      request('GET /', { cookie: 'u=b' }),
    ] as const),
  ],
];
for (const [hash, one, same, other] of SOURCES) {
  test(`the ${hash.from} decides, and nothing beside it; without it anybody serves`, () => {
    const whole = cluster(50, hash);
    const at = (view: RequestView) => pickEndpoint(whole, view, view.sourceAddress, idleState(), 0, random);
    assert.equal(at(one), at(same));
    assert.notEqual(at(one), at(other));
    const without = new Set(Array.from({ length: 50 }, () => at(request('GET /'))));
    assert.ok(without.size > 10);
  });
}
