import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { aliasesMax, answer } from './answer.ts';
import { ZoneBuilder } from './records.ts';
import { RCODE, TYPE } from './wire/numbers.ts';

const SETTINGS = { clusterDomain: 'cluster.local', dnsAddresses: ['10.96.0.10', 'fd10:96::a'] };
const origin = { source: 'test', line: 1 };

function of(apiVersion: string, kind: string, name: string, rest: object, labels = {}): SourcedObject {
  const object: KubeObject = { apiVersion, kind, metadata: { name, namespace: 'shop', labels }, ...rest };
  return { object, origin };
}

const service = (name: string, spec: object) => of('v1', 'Service', name, { spec });
const slice = (name: string, service: string, rest: object) =>
  of('discovery.k8s.io/v1', 'EndpointSlice', name, rest, { 'kubernetes.io/service-name': service });

const ENDPOINTS = {
  addressType: 'IPv4',
  ports: [{ name: 'pg', port: 5432, protocol: 'TCP' }, { port: 9 }],
  endpoints: [
    { addresses: ['10.244.0.5'], hostname: 'db-0', conditions: { ready: true } },
    { addresses: ['10.244.0.6'], conditions: {} },
    { addresses: ['10.244.0.7'], hostname: 'db-2', conditions: { ready: false } },
    { addresses: ['10.244.0.8'], targetRef: { kind: 'Pod', name: 'named' } },
  ],
};
const chain = Array.from({ length: aliasesMax + 1 }, (_, index) =>
  service(`chain-${index}`, {
    type: 'ExternalName',
    externalName: `chain-${index + 1}.shop.svc.cluster.local`,
  }),
);
const OBJECTS: readonly SourcedObject[] = [
  service('web', {
    clusterIP: '10.96.1.1',
    clusterIPs: ['10.96.1.1', 'fd10:96::0011'],
    ports: [{ name: 'HTTP', port: 80 }, { name: 'dns', port: 53, protocol: 'UDP' }, { port: 9 }],
  }),
  service('db', { clusterIP: 'None' }),
  service('all', { clusterIP: 'None', publishNotReadyAddresses: true }),
  service('none', { clusterIP: 'None' }),
  service('out', { type: 'ExternalName', externalName: 'WWW.example.com.' }),
  service('in', { type: 'ExternalName', externalName: 'web.shop.svc.cluster.local' }),
  service('gone', { type: 'ExternalName', externalName: 'nobody.shop.svc.cluster.local' }),
  service('bad', { type: 'ExternalName', externalName: 'a b..c' }),
  service('a.b', { clusterIP: '10.96.1.9' }),
  ...chain,
  slice('db-a', 'db', ENDPOINTS),
  slice('db-6', 'db', {
    addressType: 'IPv6',
    ports: [],
    endpoints: [{ addresses: ['fd10:244::5'], hostname: 'db-0' }],
  }),
  slice('all-a', 'all', ENDPOINTS),
  of('v1', 'Pod', 'named', {
    spec: { hostname: 'db-named', subdomain: 'db' },
    status: { podIP: '10.244.0.8' },
  }),
  of('v1', 'Pod', 'six', {
    status: { podIP: '10.244.1.3', podIPs: [{ ip: '10.244.1.3' }, { ip: 'fd10:244::0013' }] },
  }),
  of('v1', 'Pod', 'ended', { status: { phase: 'Succeeded', podIP: '10.244.1.9' } }),
];
leakCheck();
const zone = new ZoneBuilder(SETTINGS).build(OBJECTS, 7);

/** `RCODE: data data + additional`, or `outside`, or `leads out to NAME`. */
function ask(name: string, type: keyof typeof TYPE, at = zone): string {
  const found = answer(at, name, TYPE[type]);
  if (found.kind === 'outside') return 'outside';
  if (found.kind === 'leads-out') return `leads out to ${found.target}`;
  const { rcode, answers, additionals, authorities } = found.reply;
  const code = Object.entries(RCODE).find(([, value]) => value === rcode)?.[0];
  const shown = answers.map(({ data }) => (typeof data === 'string' ? data : JSON.stringify(data))).sort();
  const soa = authorities.length > 0 ? ' SOA' : '';
  const more = additionals.map(({ name: owner, data }) => ` +${owner}=${data}`).sort();
  return `${code}${soa}: ${shown.join(' ')}${more.join('')}`;
}

const at = (labels: string) => `${labels}.shop.svc.cluster.local`;

test('a Service with a cluster IP has addresses, SRV for named ports and reverse names', () => {
  assert.equal(ask(at('web'), 'A'), 'NOERROR: 10.96.1.1');
  assert.equal(ask(at('web'), 'AAAA'), 'NOERROR: fd10:96::11');
  assert.equal(
    ask(at('_http._tcp.web'), 'SRV'),
    `NOERROR: {"priority":0,"weight":100,"port":80,"target":"${at('web')}"} +${at('web')}=10.96.1.1 +${at('web')}=fd10:96::11`,
  );
  assert.match(ask(at('_dns._udp.web'), 'SRV'), /^NOERROR: .*"port":53/);
  assert.equal(ask(at('_http._udp.web'), 'SRV'), 'NXDOMAIN SOA: ');
  assert.equal(ask('1.1.96.10.in-addr.arpa', 'PTR'), `NOERROR: ${at('web')}`);
  const nibbles = `1.1.${'0.'.repeat(22)}6.9.0.0.0.1.d.f.ip6.arpa`;
  assert.equal(ask(nibbles, 'PTR'), `NOERROR: ${at('web')}`);
});

test('a headless Service has its ready endpoints, by hostname or address', () => {
  assert.equal(ask(at('db'), 'A'), 'NOERROR: 10.244.0.5 10.244.0.6 10.244.0.8');
  assert.equal(ask(at('db'), 'AAAA'), 'NOERROR: fd10:244::5');
  assert.equal(ask(at('db-0.db'), 'A'), 'NOERROR: 10.244.0.5');
  assert.equal(ask(at('db-0.db'), 'AAAA'), 'NOERROR: fd10:244::5');
  assert.equal(ask(at('10-244-0-6.db'), 'A'), 'NOERROR: 10.244.0.6');
  assert.equal(ask(at('db-named.db'), 'A'), 'NOERROR: 10.244.0.8');
  assert.equal(ask(at('db-2.db'), 'A'), 'NXDOMAIN SOA: ');
  assert.equal(ask(at('db-2.all'), 'A'), 'NOERROR: 10.244.0.7');
  assert.equal(ask(at('none'), 'A'), 'NXDOMAIN SOA: ');
  const srv = ask(at('_pg._tcp.db'), 'SRV');
  for (const target of ['db-0', '10-244-0-6', 'db-named'])
    assert.ok(srv.includes(`"target":"${at(`${target}.db`)}"`));
  assert.ok(srv.includes(` +${at('db-0.db')}=fd10:244::5`) && !srv.includes('db-2'));
  assert.match(ask('5.0.244.10.in-addr.arpa', 'PTR'), /db-0\.db\.shop/);
});

test('names that exist without such a record are "no data", others "no such name", both with the SOA', () => {
  for (const name of [
    at('web'),
    at('_tcp.web'),
    'shop.svc.cluster.local',
    'svc.cluster.local',
    'shop.pod.cluster.local',
  ])
    assert.equal(ask(name, 'TXT'), 'NOERROR SOA: ', name);
  for (const name of [
    at('x'),
    at('x.web'),
    'x.svc.cluster.local',
    'web.shop.cluster.local',
    'x.cluster.local',
    at('a.b'),
  ])
    assert.equal(ask(name, 'A'), 'NXDOMAIN SOA: ', name);
  for (const name of [
    'example.com',
    'local',
    'notcluster.local',
    '',
    '9.9.9.9.in-addr.arpa',
    'x.in-addr.arpa',
    '1.ip6.arpa',
  ])
    assert.equal(ask(name, 'A'), 'outside', name);
});

test('the zone says its version, its authority and its server', () => {
  assert.equal(ask('dns-version.cluster.local', 'TXT'), 'NOERROR: 1.1.0');
  assert.match(ask('cluster.local', 'SOA'), /^NOERROR: .*"serial":7.*"minimum":5/);
  assert.match(
    ask('cluster.local', 'NS'),
    /^NOERROR: ns\.dns\.cluster\.local \+.*=10\.96\.0\.10 \+.*=fd10:96::a$/,
  );
  assert.equal(ask('ns.dns.cluster.local', 'A'), 'NOERROR: 10.96.0.10');
});

test('pods are answered where they exist', () => {
  assert.equal(ask('10-244-1-3.shop.pod.cluster.local', 'A'), 'NOERROR: 10.244.1.3');
  assert.equal(ask('fd10-244--13.shop.pod.cluster.local', 'AAAA'), 'NOERROR: fd10:244::13');
  assert.equal(ask('10-244-1-3.shop.pod.cluster.local', 'AAAA'), 'NOERROR SOA: ');
  for (const label of ['10-244-1-4', '10-244-1-9', 'web', '1-2-3', 'x.10-244-1-3'])
    assert.equal(ask(`${label}.shop.pod.cluster.local`, 'A'), 'NXDOMAIN SOA: ', label);
});

test('an ExternalName is an alias, out of the cluster or inside, never in a circle', () => {
  assert.equal(ask(at('out'), 'A'), 'leads out to www.example.com');
  assert.equal(ask(at('out'), 'CNAME'), 'NOERROR: www.example.com');
  assert.equal(ask(at('in'), 'A'), `NOERROR: 10.96.1.1 ${at('web')}`);
  assert.equal(ask(at('gone'), 'A'), `NXDOMAIN SOA: ${at('nobody')}`);
  assert.equal(ask(at('chain-0'), 'A'), 'SERVFAIL: ');
  assert.equal(ask(at('bad'), 'A'), 'NOERROR SOA: ');
  assert.ok(zone.problems.some((one) => one.startsWith('Service shop/bad: externalName "a b..c"')));
  assert.ok(zone.problems.some((one) => one.startsWith('Service shop/a.b')));
});

test('ANY gets one small record', () => {
  assert.equal(ask(at('web'), 'ANY'), 'NOERROR: {"cpu":"RFC8482","os":""}');
  assert.equal(ask(at('nobody'), 'ANY'), 'NXDOMAIN SOA: ');
});

test('what a builder remembers changes nothing, and a change of a large cluster is soon in force', () => {
  const many = Array.from({ length: 1_000 }, (_, index) => [
    service(`s-${index}`, index % 2 === 0 ? { clusterIP: 'None' } : { clusterIP: `10.96.2.${index % 250}` }),
    slice(`s-${index}-x`, `s-${index}`, {
      ...ENDPOINTS,
      endpoints: Array.from({ length: 10 }, (_, n) => ({ addresses: [`10.244.${index % 250}.${n + 1}`] })),
    }),
  ]).flat();
  const builder = new ZoneBuilder(SETTINGS);
  builder.build(many, 1);
  const changed = [...many, ...OBJECTS].filter((_, index) => index !== 5);
  const startMs = performance.now();
  const again = builder.build(changed, 2);
  const tookMs = performance.now() - startMs;
  assert.deepEqual(again, new ZoneBuilder(SETTINGS).build(changed, 2));
  assert.equal(ask(at('db'), 'A', again), ask(at('db'), 'A'));
  assert.ok(tookMs < 250, `${tookMs} ms`);
});
