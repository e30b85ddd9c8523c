import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { locateParts, needParts } from './build.ts';
import { cacheFolder, layoutOf, standingLayout } from './layout.ts';
import { scriptOf } from './node.ts';
import { controlPlanePrograms } from './programs.ts';

leakCheck();

const cache = mkdtempSync(join(tmpdir(), 'heddle-parts-'));
after(() => rmSync(cache, { recursive: true }));

test('nodes have names, addresses and places of their own, and clusters share nothing', () => {
  const two = layoutOf('a', 2);
  assert.deepEqual(
    two.nodes.map(({ name, ip4, ip6, netns, cgroup }) => [name, ip4, ip6, netns, cgroup]),
    [
      ['node-1', '10.200.0.11', 'fd10:200::11', '/run/netns/hdk-a-node-1', 'hdk-a/node-1'],
      ['node-2', '10.200.0.12', 'fd10:200::12', '/run/netns/hdk-a-node-2', 'hdk-a/node-2'],
    ],
  );
  assert.deepEqual(two.first, two.nodes[0]);
  assert.deepEqual(layoutOf('a', 0).nodes, []);
  const other = layoutOf('a-b', 2);
  assert.notEqual(other.directory, two.directory);
  assert.notEqual(other.first.netns, two.first.netns);
});

test('names and numbers that no cluster can have are refused, and so is a name of which none stands', () => {
  for (const name of ['', '-', 'A', 'a/b', '..', 'x'.repeat(21), 'a-'])
    assert.throws(() => layoutOf(name, 2), { code: 'usage' }, name);
  assert.equal(layoutOf('x'.repeat(20), 8).nodes.length, 8);
  for (const nodes of [-1, 9, 1.5, Number.NaN]) assert.throws(() => layoutOf('a', nodes), { code: 'usage' });
  assert.throws(() => standingLayout('no-such-cluster'), { code: 'usage', message: /bring it up first/ });
});

test('the cache is where the user has caches', () => {
  assert.equal(cacheFolder({ XDG_CACHE_HOME: '/caches' }), '/caches/heddle/kubernetes');
  assert.match(cacheFolder({ XDG_CACHE_HOME: '' }), /\/\.cache\/heddle\/kubernetes$/);
});

test('parts are named by what they are made from, and missing ones are named with the command that makes them', () => {
  const parts = locateParts(cache);
  assert.deepEqual(locateParts(cache), parts);
  for (const [name, folder] of Object.entries(parts.folders))
    assert.match(basename(folder), new RegExp(`^${name}-[0-9a-f]{16}$`));
  assert.throws(() => needParts(parts, ['etcd', 'helm']), {
    code: 'not-built',
    message: /etcd, helm; run .*main\.ts build/,
  });
  mkdirSync(parts.folders.etcd);
  assert.throws(() => needParts(parts, ['etcd', 'helm']), { code: 'not-built', message: /: helm; run/ });
  assert.ok(existsSync(cache) && readdirSync(cache).length === 1);
});

test('a cluster without nodes schedules nothing, and every program is one line of a script', () => {
  const binaries = { kubernetes: '/bin/kubernetes', etcd: "/it's/etcd" };
  const names = (nodes: number) =>
    controlPlanePrograms(layoutOf('a', nodes), binaries).map(({ name }) => name);
  assert.deepEqual(names(0), ['etcd', 'kube-apiserver', 'kube-controller-manager']);
  assert.deepEqual(names(2), [...names(0), 'kube-scheduler']);
  const script = scriptOf({ name: 'x', command: ["/it's/etcd", '--a=b c'], after: '/run/x.sock' });
  const wait = "until [ -S '/run/x.sock' ]; do sleep 0.1; done";
  assert.equal(script, `#!/usr/bin/env bash\n${wait}\nexec '/it'\\''s/etcd' '--a=b c'\n`);
});
