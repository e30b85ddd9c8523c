import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { NetworkKind } from '../network/pod-network.ts';
import { ServiceAddresses } from './service-addresses.ts';

const service = (name: string, spec: JsonValue): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'shop' }, spec },
});
const PORTS = [{ port: 80 }, { port: 81 }];

function assigned(services: readonly KubeObject[], kind: NetworkKind = 'ebpf') {
  const addresses = new ServiceAddresses(kind);
  addresses.assign(services);
  return (one: KubeObject) => addresses.of(one);
}

test('cluster IPs are asked for, kept, headless or none', () => {
  const addresses = new ServiceAddresses('loopback');
  const fixed = service('fixed', { clusterIP: '10.96.7.7' });
  const plain = service('plain', {});
  const headless = service('headless', { clusterIP: 'None' });
  const external = service('external', { type: 'ExternalName', externalName: 'example.com' });
  const ips = (one: KubeObject) => addresses.of(one).clusterIps;
  addresses.assign([fixed, plain, headless, external]);
  const first = ips(plain);
  assert.deepEqual(ips(fixed), ['10.96.7.7']);
  assert.match(first.join(), /^10\.96\.\d+\.\d+$/);
  assert.deepEqual(ips(headless), ['None']);
  assert.deepEqual(ips(external), []);
  addresses.assign([plain]);
  assert.deepEqual(ips(plain), first, 'an address stays while its Service does');
  assert.deepEqual(ips(fixed), []);
});

test('no two Services share a cluster IP, in either family', () => {
  const services = Array.from({ length: 2_000 }, (_, n) =>
    service(`s${n}`, { ipFamilyPolicy: 'RequireDualStack' }),
  );
  const of = assigned(services);
  const all = services.flatMap((one) => of(one).clusterIps);
  assert.equal(all.length, 2 * services.length);
  assert.equal(new Set(all).size, all.length);
});

test('an address that is asked for is nobody else’s, whoever comes first', () => {
  const plain = service('plain', {});
  const [its = ''] = assigned([plain])(plain).clusterIps;
  const greedy = service('greedy', { clusterIP: its });
  const of = assigned([plain, greedy]);
  assert.deepEqual(of(greedy).clusterIps, [its]);
  assert.notDeepEqual(of(plain).clusterIps, [its]);
});

test('a new Service is never given the address of one that stands', () => {
  const names = Array.from({ length: 65_000 }, (_, n) => `s${n}`);
  const byIp = new Map<string, string>();
  let pair: readonly [string, string] | undefined;
  for (const name of names) {
    const [ip = ''] = assigned([service(name, {})])(service(name, {})).clusterIps;
    const other = byIp.get(ip);
    if (other !== undefined) {
      pair = [other, name];
      break;
    }
    byIp.set(ip, name);
  }
  assert.ok(pair !== undefined, 'two names that lead to one address');
  const [first, second] = pair.map((name) => service(name, {}));
  assert.ok(first !== undefined && second !== undefined);
  const addresses = new ServiceAddresses('ebpf');
  addresses.assign([first]);
  const { clusterIps } = addresses.of(first);
  addresses.assign([second, first]);
  assert.deepEqual(addresses.of(first).clusterIps, clusterIps);
  assert.notDeepEqual(addresses.of(second).clusterIps, clusterIps);
});

test('families follow the policy, the list and the addresses asked for', () => {
  const cases: readonly (readonly [JsonValue, readonly string[]])[] = [
    [{}, ['IPv4']],
    [{ ipFamilyPolicy: 'PreferDualStack' }, ['IPv4', 'IPv6']],
    [{ ipFamilyPolicy: 'PreferDualStack', ipFamilies: ['IPv6'] }, ['IPv6', 'IPv4']],
    [{ ipFamilies: ['IPv6'] }, ['IPv6']],
    [{ clusterIP: 'fd10:96::77' }, ['IPv6']],
    [{ clusterIP: 'None', ipFamilyPolicy: 'RequireDualStack' }, ['IPv4', 'IPv6']],
  ];
  for (const [spec, families] of cases) {
    const one = service('one', spec);
    assert.deepEqual(assigned([one])(one).families, families, JSON.stringify(spec));
  }
  const dual = service('dual', { ipFamilyPolicy: 'RequireDualStack' });
  assert.deepEqual(assigned([dual], 'loopback')(dual).families, ['IPv4'], 'loopback mode has one');
});

test('node ports are asked for, kept, never given twice, and of NodePort and LoadBalancer alone', () => {
  const asked = service('asked', { type: 'NodePort', ports: [{ port: 80, nodePort: 30_080 }] });
  const chosen = service('chosen', { type: 'LoadBalancer', ports: PORTS });
  const inside = service('inside', { ports: PORTS });
  const addresses = new ServiceAddresses('ebpf');
  addresses.assign([chosen, asked, inside]);
  const ports = [...addresses.of(chosen).nodePorts.values()];
  assert.equal(new Set([...ports, 30_080]).size, 3);
  assert.ok(ports.every((port) => port >= 30_000 && port <= 32_767));
  assert.deepEqual([...addresses.of(asked).nodePorts], [[0, 30_080]]);
  assert.equal(addresses.of(inside).nodePorts.size, 0);
  addresses.assign([chosen]);
  assert.deepEqual([...addresses.of(chosen).nodePorts.values()], ports);
  assert.equal(assigned([chosen], 'loopback')(chosen).nodePorts.size, 0);
});

test('when every node port is given, the next Service has none', () => {
  const many = service('many', {
    type: 'NodePort',
    ports: Array.from({ length: 2_768 }, (_, n) => ({ port: n + 1 })),
  });
  const late = service('zz-late', { type: 'NodePort', ports: [{ port: 1 }] });
  const of = assigned([many, late]);
  assert.equal(new Set(of(many).nodePorts.values()).size, 2_768);
  assert.equal(of(late).nodePorts.size, 0);
});
