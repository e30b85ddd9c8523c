import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBytes, addressText, isNoAddress } from '../../common/address.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { nodeObject, podObject } from '../../test/support/agent-world.ts';
import { networkPolicy } from '../../test/support/policy-objects.ts';
import { compiled, EMPTY_INPUT, serviceOf, sliceOf } from '../../test/support/service-objects.ts';
import { EP, IDENTITY, NODE, POD } from '../maps/constants.ts';
import { keyText } from '../maps/entries.ts';
import { decode, encode } from '../maps/struct.ts';
import { TABLES } from '../maps/tables.ts';
import { compilePolicy } from '../policy/compile.ts';
import type { LocalPod } from './local-pods.ts';
import { clusterNodes } from './nodes.ts';
import { type WantedInput, wantedMaps } from './wanted.ts';

const LOCAL: LocalPod = {
  ...{
    containerId: 'c1',
    ifname: 'eth0',
    netns: '/run/netns/web',
    namespace: 'shop',
    name: 'web',
    uid: 'u1',
  },
  ...{
    ips: ['10.244.1.5', 'fd10:244:0:1::5'],
    hostIfname: 'hdl1',
    hostIfindex: 17,
    podId: 3,
    captured: true,
  },
  ...{ podMac: '02:00:00:00:00:05', hostMac: 'ee:ee:ee:ee:ee:ee', netnsCookie: '4711', hostPorts: [] },
  skip: { inbound: [9090], outbound: [5432], cidrs: ['192.0.2.0/24'] },
};

const NODES = [
  nodeObject('n1', ['10.244.1.0/24', 'fd10:244:0:1::/64'], ['172.31.0.11', 'fd31::11']),
  nodeObject('n2', ['10.244.2.0/24', 'fd10:244:0:2::/64'], ['fd31::12', '172.31.0.12']),
  nodeObject('lost', ['10.244.9.0/24'], []),
];
const PODS = [
  podObject('web', 'n1', '10.244.1.5'),
  podObject('far', 'n2', '10.244.2.7'),
  podObject('nowhere', 'gone', '10.244.8.8'),
];
const DENY = networkPolicy('deny', { podSelector: {}, policyTypes: ['Ingress'] });

function input(part: Partial<WantedInput> = {}, policies: readonly SourcedObject[] = []): WantedInput {
  const localPods = [{ namespace: 'shop', name: 'web', uid: 'u1', ips: LOCAL.ips }];
  return {
    node: {
      ...{ name: 'n1', mode: 'tunnel', netnsCookie: 99n, tunnelIfindex: 4, tunnelMtu: 1450 },
      uplinkIfindex: 2,
      ...{ uplinkMac: '02:00:00:00:00:01', dnsAddresses: ['10.96.0.10'], controlPlane: ['172.31.0.1'] },
    },
    nodes: clusterNodes(NODES),
    pods: PODS,
    localPods: [LOCAL],
    policy: compilePolicy({ namespaces: [], pods: PODS, policies, node: { name: 'n1', localPods } }),
    services: compiled(EMPTY_INPUT),
    sidecars: new Map([[3, 1234n]]),
    ...part,
  };
}

function endpointAt(text: string, from: WantedInput = input()) {
  const entry = wantedMaps(from).wanted.endpoint.get(keyText(addressBytes(text)));
  return entry === undefined ? undefined : decode(TABLES.endpoint.value, entry.value);
}

test('a pod of the node leads to its veth, with its identity and sets', () => {
  for (const ip of LOCAL.ips) {
    const found = endpointAt(ip, input({}, [DENY]));
    assert.deepEqual(
      [found?.ifindex, found?.mac, found?.podId, found?.flags],
      [17, '02:00:00:00:00:05', 3, EP.LOCAL | EP.MESHED],
    );
    assert.ok((found?.identity ?? 0) >= IDENTITY.FIRST_POD);
    assert.ok((found?.ingressSet ?? 0) > 0);
    assert.equal(found?.egressSet, 0);
    assert.ok(isNoAddress(found?.node ?? addressBytes('1.1.1.1')));
  }
});

test('a pod elsewhere leads to the address where the tunnel to its node ends', () => {
  const far = endpointAt('10.244.2.7');
  assert.equal(addressText(far?.node ?? Buffer.alloc(16)), '172.31.0.12');
  assert.deepEqual([far?.ifindex, far?.flags], [0, 0]);
  assert.equal(endpointAt('10.244.8.8'), undefined, 'a pod on a node that nobody knows');
});

test('nodes, DNS and the control plane are told apart', () => {
  assert.deepEqual(
    ['172.31.0.11', 'fd31::12', '10.96.0.10', '172.31.0.1'].map((one) => endpointAt(one)?.flags),
    [EP.OWN_NODE, EP.OTHER_NODE, EP.DNS, EP.CONTROL_PLANE],
  );
  assert.equal(endpointAt('172.31.0.11')?.identity, IDENTITY.NODE);
  assert.equal(endpointAt('172.31.0.1')?.identity, IDENTITY.WORLD);
});

test('pods of the control plane stay pods, and sidecars may reach them', () => {
  const from = input({ node: { ...input().node, controlPlane: ['10.244.1.5', '10.244.2.7'] } });
  assert.equal(endpointAt('10.244.1.5', from)?.flags, EP.LOCAL | EP.MESHED | EP.CONTROL_PLANE);
  assert.equal(endpointAt('10.244.1.5', from)?.ifindex, 17);
  const far = endpointAt('10.244.2.7', from);
  assert.deepEqual([far?.flags, far?.identity], [EP.CONTROL_PLANE, endpointAt('10.244.2.7')?.identity]);
});

test('pod blocks lead to their nodes, the own ones here, those of a node without address nowhere', () => {
  const { block } = wantedMaps(input()).wanted;
  const at = (address: string, bits: number) =>
    block.get(keyText(encode(TABLES.block.key, { bits, address: addressBytes(address) })))?.value;
  assert.ok(isNoAddress(at('10.244.1.0', 120) ?? addressBytes('1.1.1.1')));
  assert.equal(addressText(at('fd10:244:0:2::', 64) ?? Buffer.alloc(16)), '172.31.0.12');
  assert.equal(at('10.244.9.0', 120), undefined);
  assert.equal(block.size, 4);
});

test('a captured pod has its sidecar and what it skips; one that is not has neither', () => {
  const { wanted } = wantedMaps(input());
  const cookie = keyText(encode(TABLES.pod.key, 4711n));
  const pod = decode(TABLES.pod.value, wanted.pod.get(cookie)?.value ?? Buffer.alloc(0));
  assert.deepEqual([pod.sidecarCgroup, pod.podId, pod.flags], [1234n, 3, POD.MESHED]);
  assert.deepEqual([wanted.skippedPort.size, wanted.skippedPrefix.size, wanted.pod.size], [2, 1, 2]);
  const plain = wantedMaps(input({ localPods: [{ ...LOCAL, captured: false }] })).wanted;
  assert.deepEqual([plain.skippedPort.size, plain.skippedPrefix.size], [0, 0]);
  assert.equal(decode(TABLES.pod.value, plain.pod.get(cookie)?.value ?? Buffer.alloc(0)).flags, 0);
});

test('the node is written with its addresses and its mode', () => {
  const config = (mode: WantedInput['node']['mode']) => {
    const { node } = wantedMaps(input({ node: { ...input().node, mode } })).wanted;
    const [entry] = [...node.values()];
    return decode(TABLES.node.value, entry?.value ?? Buffer.alloc(0));
  };
  assert.equal(addressText(config('tunnel').node4), '172.31.0.11');
  assert.equal(addressText(config('tunnel').node6), 'fd31::11');
  assert.deepEqual(
    (['tunnel', 'direct', 'capture'] as const).map((mode) => config(mode).flags),
    [NODE.TUNNEL, 0, NODE.CAPTURE_ONLY],
  );
});

test('policies, Services and backends are in their maps', () => {
  const web = { clusterIP: '10.96.1.1' };
  const services = compiled({
    ...EMPTY_INPUT,
    services: [serviceOf('web', web)],
    endpointSlices: [sliceOf('web', ['10.244.1.5 n1'])],
  });
  const open = networkPolicy('open', { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] });
  const { wanted } = wantedMaps(input({ services }, [open]));
  assert.ok(wanted.service.size > 0 && wanted.backend.size > 0);
  assert.equal(wanted.policy.size, 1);
});
