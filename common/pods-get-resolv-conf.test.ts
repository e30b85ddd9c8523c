import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leakCheck } from '../test/support/leak-check.ts';
import {
  nameserversMax,
  parseResolvConf,
  podResolvConf,
  searchCharsMax,
  searchesMax,
} from './resolv-conf.ts';

leakCheck();
const upstream = parseResolvConf(
  '# host\nnameserver 192.0.2.53\nsearch a.test\nsearch example.test. other.test\noptions timeout:2\n',
);
const base = { namespace: 'shop', clusterDns: ['10.96.0.10'], clusterDomain: 'cluster.local', upstream };
const CLUSTER =
  'search shop.svc.cluster.local svc.cluster.local cluster.local example.test other.test\nnameserver 10.96.0.10\noptions ndots:5\n';
const HOST = 'search example.test other.test\nnameserver 192.0.2.53\noptions timeout:2\n';

test('each policy writes what kubelet writes', () => {
  assert.equal(podResolvConf({ ...base, dnsPolicy: 'ClusterFirst' }).text, CLUSTER);
  assert.equal(podResolvConf({ ...base, dnsPolicy: 'ClusterFirst', hostNetwork: true }).text, HOST);
  assert.equal(
    podResolvConf({ ...base, dnsPolicy: 'ClusterFirstWithHostNet', hostNetwork: true }).text,
    CLUSTER,
  );
  assert.equal(podResolvConf({ ...base, dnsPolicy: 'Default' }).text, HOST);
  assert.equal(podResolvConf({ ...base, dnsPolicy: 'ClusterFirst', clusterDns: [] }).text, HOST);
  const dnsConfig = { nameservers: ['192.0.2.1'], searches: ['own.test'], options: [{ name: 'edns0' }] };
  assert.equal(
    podResolvConf({ ...base, dnsPolicy: 'None', dnsConfig }).text,
    'search own.test\nnameserver 192.0.2.1\noptions edns0\n',
  );
});

test("a pod's dnsConfig is added, its options replace those of the same name", () => {
  const options = [{ name: 'ndots', value: '2' }, { name: 'edns0' }];
  const dnsConfig = {
    nameservers: ['10.96.0.10', '192.0.2.1'],
    searches: ['cluster.local', 'own.test'],
    options,
  };
  const made = podResolvConf({ ...base, dnsPolicy: 'ClusterFirst', dnsConfig });
  assert.deepEqual(made.nameservers, ['10.96.0.10', '192.0.2.1']);
  assert.equal(made.searches.at(-1), 'own.test');
  assert.equal(made.searches.filter((one) => one === 'cluster.local').length, 1);
  assert.deepEqual(made.options, ['ndots:2', 'edns0']);
});

test('what is above a limit is left out, and said', () => {
  const nameservers = Array.from({ length: nameserversMax + 1 }, (_, index) => `192.0.2.${index}`);
  const searches = Array.from({ length: searchesMax + 1 }, (_, index) => `s${index}.test`);
  const made = podResolvConf({ ...base, dnsPolicy: 'None', dnsConfig: { nameservers, searches } });
  assert.deepEqual(
    [made.nameservers.length, made.searches.length, made.omitted.length],
    [nameserversMax, searchesMax, 2],
  );
  const long = ['x'.repeat(searchCharsMax - 1), 'y', 'z'];
  assert.deepEqual(
    podResolvConf({ ...base, dnsPolicy: 'None', dnsConfig: { searches: long } }).searches,
    long.slice(0, 1),
  );
});
