import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '../../common/json.ts';
import { object } from '../../test/support/model-objects.ts';
import type { ClusterNode } from './nodes.ts';
import { remoteHostPorts } from './remote-host-ports.ts';

const NODES = new Map<string, ClusterNode>(
  ['n1', 'n2'].map((name, index) => [name, { name, addresses: [`192.0.2.${index + 1}`], podBlocks: [] }]),
);

function read(spec: JsonObject, status: JsonObject = { podIPs: [{ ip: '10.244.2.1' }] }) {
  return remoteHostPorts([object('v1', 'Pod', 'web', spec, { status })], NODES, 'n1');
}

test("containers' and sidecars' hostPorts of pods elsewhere are read, with their node's addresses", () => {
  const found = read({
    nodeName: 'n2',
    initContainers: [
      { name: 'once', ports: [{ containerPort: 1, hostPort: 1 }] },
      {
        name: 'sidecar',
        restartPolicy: 'Always',
        ports: [{ containerPort: 2, hostPort: 2002, hostIP: '192.0.2.2' }],
      },
    ],
    containers: [
      { name: 'app', ports: [{ containerPort: 80 }, { containerPort: 53, hostPort: 53, protocol: 'UDP' }] },
    ],
  });
  const pod = { namespace: 'shop', pod: 'web', podIps: ['10.244.2.1'], nodeAddresses: ['192.0.2.2'] };
  assert.deepEqual(found, [
    { ...pod, hostIp: undefined, hostPort: 53, containerPort: 53, protocol: 'UDP' },
    { ...pod, hostIp: '192.0.2.2', hostPort: 2002, containerPort: 2, protocol: 'TCP' },
  ]);
});

test('pods of this node, of nobody, of an unknown node, of the host network and ended ones have none here', () => {
  const containers = [{ name: 'app', ports: [{ containerPort: 80, hostPort: 8000 }] }];
  for (const nodeName of ['n1', 'n3', null]) assert.deepEqual(read({ nodeName, containers }), []);
  const elsewhere = { nodeName: 'n2', containers };
  assert.deepEqual(read({ ...elsewhere, hostNetwork: true })[0]?.podIps ?? [], []);
  assert.deepEqual(
    read(elsewhere, { phase: 'Succeeded', podIPs: [{ ip: '10.244.2.1' }] })[0]?.podIps ?? [],
    [],
  );
});

test('a port that is no port, or of another protocol, is left out', () => {
  const ports = [
    { containerPort: 80, hostPort: 70_000 },
    { containerPort: 80, hostPort: 8000, protocol: 'ICMP' },
  ];
  assert.deepEqual(read({ nodeName: 'n2', containers: [{ name: 'app', ports }] }), []);
});
