import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isJsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at } from '../kube/fields.ts';
import { CniRuntime, portMappings } from './cni-runtime.ts';
import type { Host, Ran, RunOptions } from './host.ts';

const pod: KubeObject = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web-1', namespace: 'shop', uid: 'u-1' } },
  spec: {
    initContainers: [
      { name: 'side', restartPolicy: 'Always', ports: [{ containerPort: 1, hostPort: 2 }] },
      { name: 'once', ports: [{ containerPort: 3, hostPort: 4 }] },
    ],
    containers: [
      {
        name: 'web',
        ports: [
          { containerPort: 8080, hostPort: 80, hostIP: '192.0.2.1' },
          { containerPort: 53, hostPort: 53, protocol: 'UDP' },
          { containerPort: 9090 },
        ],
      },
    ],
  },
};
const attachment = { pod, netns: '/run/netns/x', agentSocket: '/run/heddle/m/node-1/cni.sock' };
const RESULT = {
  cniVersion: '1.1.0',
  ips: [{ address: '10.244.1.2/32' }, { address: 'fd10:244:0:1::2/128' }],
};

/** A plugin that answers with `ran` and keeps what it was called with. */
function runtime(...answers: readonly Partial<Ran>[]) {
  const calls: { command: string; args: readonly string[]; options: RunOptions }[] = [];
  const host: Host = {
    async run(command, args, options = {}) {
      calls.push({ command, args, options });
      return { code: 0, out: '', err: '', ...answers[calls.length - 1] };
    },
  };
  const config = (index: number): JsonValue => {
    const parsed: unknown = JSON.parse(calls[index]?.options.input ?? '');
    assert.ok(isJsonObject(parsed));
    return parsed;
  };
  return { cni: new CniRuntime(host, '/opt/heddle/heddle-cni'), calls, config };
}

test('the plugin is called as a container runtime calls it', async () => {
  const { cni, calls, config } = runtime({ out: JSON.stringify(RESULT) });
  assert.deepEqual(await cni.add(attachment), ['10.244.1.2', 'fd10:244:0:1::2']);
  assert.equal(calls[0]?.command, '/opt/heddle/heddle-cni');
  assert.deepEqual(calls[0]?.options.env, {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'u-1',
    CNI_NETNS: '/run/netns/x',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/heddle',
    CNI_ARGS:
      'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u-1;K8S_POD_INFRA_CONTAINER_ID=u-1',
  });
  assert.equal(at(config(0), 'agentSocket'), attachment.agentSocket);
  assert.equal(at(config(0), 'prevResult'), undefined);
});

test('host ports of what stays are handed on, with their address and protocol', () => {
  assert.deepEqual(portMappings(pod), [
    { hostPort: 2, containerPort: 1, protocol: 'tcp' },
    { hostPort: 80, containerPort: 8080, protocol: 'tcp', hostIP: '192.0.2.1' },
    { hostPort: 53, containerPort: 53, protocol: 'udp' },
  ]);
});

test('CHECK and DEL carry the result of ADD', async () => {
  const { cni, config } = runtime({ out: JSON.stringify(RESULT) }, {}, {}, {});
  await cni.add(attachment);
  await cni.check(attachment);
  await cni.delete(attachment);
  await cni.delete(attachment);
  assert.deepEqual(at(config(1), 'prevResult'), RESULT);
  assert.deepEqual(at(config(2), 'prevResult'), RESULT);
  assert.equal(at(config(3), 'prevResult'), undefined, 'once the pod is gone, it is forgotten');
});

const failures: readonly (readonly [string, Partial<Ran>, string, RegExp])[] = [
  [
    'an error of the specification',
    { code: 1, out: '{"code":11,"msg":"not yet","details":"no agent"}' },
    'cni-11',
    /ADD: not yet: no agent$/,
  ],
  ['words on stderr', { code: 127, err: 'spawn ENOENT\n' }, 'cni', /ADD: spawn ENOENT$/],
  ['silence', { code: 1 }, 'cni', /it printed nothing/],
  ['nonsense instead of a result', { out: 'ok' }, 'cni', /printed no result: ok/],
];
for (const [what, ran, code, message] of failures)
  test(`a plugin that fails is told by its code and words: ${what}`, async () => {
    const { cni } = runtime(ran);
    await assert.rejects(cni.add(attachment), (thrown: Error) => {
      assert.ok('code' in thrown);
      assert.equal(thrown.code, code);
      assert.match(thrown.message, message);
      return true;
    });
  });
