import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CniCall, readCall, versionOf } from './call.ts';
import { readFrame, writeFrame } from './frame.ts';
import { CniError } from './handler.ts';

const ADD = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'abc',
  CNI_NETNS: '/run/netns/x',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
};
const CONFIG = { cniVersion: '1.1.0', name: 'heddle', type: 'heddle-cni' };
const PREV = {
  cniVersion: '1.1.0',
  ips: [{ address: '10.1.0.5/16', interface: 0 }],
  interfaces: [{ name: 'eth0' }],
};

function read(variables: Record<string, string>, config: unknown = CONFIG): CniCall {
  const text = typeof config === 'string' ? config : JSON.stringify(config);
  return readCall(readFrame(writeFrame(variables, text)));
}

function refused(variables: Record<string, string>, config: unknown, code: number, message: RegExp): void {
  assert.throws(
    () => read(variables, config),
    (thrown) => {
      assert.ok(thrown instanceof CniError);
      assert.equal(thrown.cniCode, code, thrown.message);
      assert.match(thrown.message, message);
      return true;
    },
  );
}

test('what is missing or wrong in the environment is code 4, by its name', () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['CNI_COMMAND', '', /CNI_COMMAND/],
    ['CNI_COMMAND', 'add', /CNI_COMMAND/],
    ['CNI_CONTAINERID', '', /CNI_CONTAINERID/],
    ['CNI_CONTAINERID', '-x', /CNI_CONTAINERID/],
    ['CNI_CONTAINERID', 'a/b', /CNI_CONTAINERID/],
    ['CNI_CONTAINERID', 'a'.repeat(201), /CNI_CONTAINERID/],
    ['CNI_NETNS', '', /CNI_NETNS/],
    ['CNI_NETNS', 'run/netns/x', /CNI_NETNS/],
    ['CNI_IFNAME', '', /CNI_IFNAME/],
    ['CNI_IFNAME', '..', /CNI_IFNAME/],
    ['CNI_IFNAME', 'a b', /CNI_IFNAME/],
    ['CNI_IFNAME', 'a:b', /CNI_IFNAME/],
    ['CNI_IFNAME', 'a'.repeat(16), /CNI_IFNAME/],
    ['CNI_ARGS', 'novalue', /CNI_ARGS has "novalue"/],
    ['CNI_ARGS', 'IP=10.0.0.7', /CNI_ARGS has IP/],
    ['CNI_ARGS', 'K8S_POD_NAMESPACE=shop', /K8S_POD_NAME/],
    ['CNI_ARGS', 'K8S_POD_NAMESPACE=Shop;K8S_POD_NAME=x', /K8S_POD_NAMESPACE/],
    ['CNI_ARGS', 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=../x', /K8S_POD_NAME/],
    ['CNI_ARGS', 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=x;K8S_POD_UID=a b', /K8S_POD_UID/],
  ];
  for (const [name, value, message] of cases) refused({ ...ADD, [name]: value }, CONFIG, 4, message);
});

test('the pod is read as containerd names it', () => {
  const args =
    'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1.x;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u-1;NEW=1';
  const call = read({ ...ADD, CNI_ARGS: args });
  assert.ok(call.command === 'ADD');
  assert.deepEqual(call.pod, { namespace: 'shop', name: 'web-1.x', uid: 'u-1' });
  const without = read(ADD);
  assert.ok(without.command === 'ADD');
  assert.equal(without.pod, undefined);
});

test('a configuration that is no JSON object is code 6', () => {
  for (const text of ['', '{', 'null', '[]', '"x"', '{"cniVersion":"1.1.0",}', '\ufffe'])
    refused(ADD, text, 6, /no JSON|no JSON object/);
  refused(ADD, { ...CONFIG, cniVersion: 1 }, 6, /cniVersion/);
  const frame = { variables: new Map(Object.entries(ADD)), configuration: Buffer.from([0x22, 0xff, 0x22]) };
  assert.throws(() => readCall(frame), /no JSON/);
});

test('versions and what they have are code 1', () => {
  for (const version of ['0.1.0', '0.2.0', '0.3.0', '1.2.0', '2.0.0', 'x'])
    refused(ADD, { ...CONFIG, cniVersion: version }, 1, /is not supported/);
  refused(ADD, { name: 'heddle' }, 1, /0\.1\.0 is not supported/);
  refused(
    { ...ADD, CNI_COMMAND: 'CHECK' },
    { ...CONFIG, cniVersion: '0.3.1', prevResult: PREV },
    1,
    /no CHECK/,
  );
  for (const command of ['GC', 'STATUS'])
    refused({ CNI_COMMAND: command }, { ...CONFIG, cniVersion: '1.0.0' }, 1, new RegExp(`no ${command}`));
});

test('a name, a mode or a result that can not be used is code 7', () => {
  refused(ADD, { cniVersion: '1.1.0' }, 7, /network's name/);
  refused(ADD, { ...CONFIG, name: 'a/b' }, 7, /network's name/);
  refused(ADD, { ...CONFIG, mode: 'half' }, 7, /mode must be/);
  refused(ADD, { ...CONFIG, mode: 'capture' }, 7, /no prevResult/);
  refused(ADD, { ...CONFIG, prevResult: PREV }, 7, /must be the first plugin/);
  refused({ ...ADD, CNI_COMMAND: 'CHECK' }, CONFIG, 7, /no prevResult/);
  refused(ADD, { ...CONFIG, mode: 'capture', prevResult: { ips: [{}] } }, 7, /prevResult\.ips/);
  refused(ADD, { ...CONFIG, dns: { search: 'x' } }, 7, /dns\.search must be a list/);
  refused(
    { CNI_COMMAND: 'GC' },
    { ...CONFIG, 'cni.dev/valid-attachments': [{}] },
    7,
    /containerID and ifname/,
  );
});

test('what would be ignored is refused with code 2, key and value', () => {
  const bandwidth = { ingressRate: 1000 };
  refused(
    ADD,
    { ...CONFIG, runtimeConfig: { bandwidth } },
    2,
    /runtimeConfig\.bandwidth: \{"ingressRate":1000\}/,
  );
  refused(ADD, { ...CONFIG, runtimeConfig: { mac: '02::' } }, 2, /runtimeConfig\.mac: "02::"/);
  refused(ADD, { ...CONFIG, ipam: { type: 'host-local' } }, 2, /ipam: \{"type":"host-local"\}/);
  refused(ADD, { ...CONFIG, ipMasq: false }, 2, /ipMasq: false/);
  refused(ADD, { ...CONFIG, bridge: 'cni0' }, 2, /bridge: "cni0"/);
  const harmless = {
    ipam: {},
    ipMasq: true,
    args: { cni: {} },
    runtimeConfig: { bandwidth: { ingressRate: 0 } },
  };
  assert.equal(read(ADD, { ...CONFIG, ...harmless }).command, 'ADD');
});

test('host ports are read, those that the host does not offer left out', () => {
  const portMappings = [
    { hostPort: 8080, containerPort: 80, protocol: 'tcp' },
    { hostPort: 53, containerPort: 5353, protocol: 'UDP', hostIP: '192.0.2.1' },
    { hostPort: 99, containerPort: 99, protocol: 'sctp', hostIP: '0.0.0.0' },
    { hostPort: 0, containerPort: 90 },
    // As containerd writes them.
    { HostPort: 18080, ContainerPort: 8080, Protocol: 'tcp', HostIP: '' },
    { HostPort: 0, ContainerPort: 8081, Protocol: 'tcp', HostIP: '' },
  ];
  const call = read(ADD, { ...CONFIG, runtimeConfig: { portMappings } });
  assert.ok(call.command === 'ADD');
  assert.deepEqual(call.hostPorts, [
    { hostIp: undefined, hostPort: 8080, containerPort: 80, protocol: 'TCP' },
    { hostIp: '192.0.2.1', hostPort: 53, containerPort: 5353, protocol: 'UDP' },
    { hostIp: undefined, hostPort: 99, containerPort: 99, protocol: 'SCTP' },
    { hostIp: undefined, hostPort: 18080, containerPort: 8080, protocol: 'TCP' },
  ]);
  for (const bad of [
    { hostPort: 1 },
    { hostPort: 70000, containerPort: 1 },
    { hostPort: 1, containerPort: 1, protocol: 'x' },
    { hostPort: 1, containerPort: 1, hostIP: 'x' },
    7,
  ])
    refused(ADD, { ...CONFIG, runtimeConfig: { portMappings: [bad] } }, 7, /is no mapping/);
  const many = Array.from({ length: 1025 }, () => portMappings[0]);
  refused(ADD, { ...CONFIG, runtimeConfig: { portMappings: many } }, 7, /1024 at most/);
});

test('a deletion is taken with whatever came with it', () => {
  const call = read(
    { CNI_COMMAND: 'DEL', CNI_CONTAINERID: 'abc', CNI_IFNAME: 'eth0', CNI_ARGS: 'rubbish' },
    { ...CONFIG, bridge: 'x', mode: 7, prevResult: 'x', runtimeConfig: { bandwidth: { ingressRate: 1 } } },
  );
  assert.ok(call.command === 'DEL');
  assert.deepEqual([call.netns, call.pod, call.mode], [undefined, undefined, 'full']);
});

test('the valid attachments are known, none, or not told', () => {
  const gc = (value: object) => {
    const call = read({ CNI_COMMAND: 'GC' }, { ...CONFIG, ...value });
    assert.ok(call.command === 'GC');
    return call.valid;
  };
  const attachment = { containerID: 'abc', ifname: 'eth0' };
  const key = 'cni.dev/valid-attachments';
  assert.deepEqual(gc({ [key]: [attachment] }), [{ containerId: 'abc', ifname: 'eth0' }]);
  assert.deepEqual(gc({ 'cni.dev/attachments': [attachment] }), [{ containerId: 'abc', ifname: 'eth0' }]);
  assert.deepEqual(gc({ [key]: null }), []);
  assert.equal(gc({}), undefined);
  const many = Array.from({ length: 16_385 }, () => attachment);
  refused({ CNI_COMMAND: 'GC' }, { ...CONFIG, [key]: many }, 7, /16384 attachments at most/);
});

test('an error carries the version of the call where it has one', () => {
  const of = (config: string) => versionOf(readFrame(writeFrame(ADD, config)));
  assert.deepEqual(
    [of('{"cniVersion":"0.4.0"}'), of('{"cniVersion":"9"}'), of('{')],
    ['0.4.0', '1.1.0', '1.1.0'],
  );
});

test('whatever bytes arrive, they are read or refused', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.string()),
      fc.oneof(fc.string(), fc.json()),
      (variables, config) => {
        for (const command of ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'])
          try {
            read({ ...variables, ...ADD, CNI_COMMAND: command }, config);
          } catch (thrown) {
            assert.ok(thrown instanceof CniError, String(thrown));
          }
      },
    ),
    { numRuns: 300 },
  );
});

test('a frame that is cut, too large or of something else is refused', () => {
  const frame = writeFrame(ADD, '{}');
  assert.throws(() => readFrame(frame.subarray(0, frame.length - 1)), /cut off/);
  assert.throws(() => readFrame(Buffer.from('GET / HTTP/1.1\r\n\r\n')), /not one of heddle-cni/);
  const large = Buffer.from(frame);
  large.writeUInt32LE(1 << 30, 8);
  assert.throws(() => readFrame(large), /larger than 1048576/);
  large.writeUInt32LE(65_537, 4);
  assert.throws(() => readFrame(large), /larger than 65536/);
});
