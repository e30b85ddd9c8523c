import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeltaDiscoveryRequest } from '../../common/gen/envoy/service/discovery/v3/discovery.ts';
import { DEFAULT_CONFIG_LIMITS } from './limits.ts';
import { askInParts, type HeldFor, inParts } from './requests.ts';

const LIMIT = DEFAULT_CONFIG_LIMITS.requestBytesMax;

function sizeOf(subscribe: readonly string[], versions: Readonly<Record<string, string>>): number {
  const request = { resourceNamesSubscribe: [...subscribe], initialResourceVersions: { ...versions } };
  return DeltaDiscoveryRequest.encode(DeltaDiscoveryRequest.fromPartial(request)).finish().length;
}

test('everything that a sidecar may hold fits in requests that the control plane takes', () => {
  const names = Array.from({ length: 10_000 }, (_, index) => `${index}.${'n'.repeat(240)}:80`);
  const held = new Map(names.map((name) => [name, { name, version: 'v'.repeat(16) }]));
  const parts = askInParts(names, held, LIMIT);
  assert.deepEqual(
    parts.flatMap(({ subscribe }) => subscribe),
    names,
  );
  for (const { subscribe, versions } of parts) assert.ok(sizeOf(subscribe, versions) <= LIMIT);
  assert.ok(parts.length > 1 && parts.length < 20, `${parts.length} requests`);
});

test('versions stand in the first request, each beside the name that it is held for', () => {
  const held = new Map<string, HeldFor>([
    ['10.96.0.9:80', { name: 'far', version: '1' }],
    ['near', { name: 'near', version: '2' }],
  ]);
  const names = ['unknown', 'near', '10.96.0.9:80'];
  assert.deepEqual(askInParts(names, held, 1_000), [
    { subscribe: ['near', '10.96.0.9:80', 'unknown'], versions: { near: '2', far: '1' } },
  ]);
  const [first, ...others] = askInParts(names, held, 30);
  assert.deepEqual(first, { subscribe: ['near'], versions: { near: '2' } });
  assert.deepEqual(
    others.map(({ versions }) => versions),
    others.map(() => ({})),
  );
});

test('a name that is longer than a request is still asked for, and nothing is for nothing', () => {
  assert.deepEqual(inParts(['a'.repeat(50), 'b', 'c'], 20), [['a'.repeat(50)], ['b', 'c']]);
  assert.deepEqual(inParts([], 20), []);
  assert.deepEqual(askInParts([], new Map(), 20), []);
});
