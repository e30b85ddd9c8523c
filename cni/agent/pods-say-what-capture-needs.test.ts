import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANNOTATIONS } from '../../common/contracts.ts';
import { HeddleError } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import {
  isCgroupOf,
  isMeshed,
  sidecarContainerId,
  skippedBy,
  skippedCidrsMax,
  skippedPortsMax,
} from './pod-facts.ts';

function pod(
  annotations: Readonly<Record<string, string>>,
  spec: KubeObject['spec'] = {},
  status: KubeObject['status'] = {},
): KubeObject {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'web', annotations }, spec, status };
}

const refusal = (annotations: Readonly<Record<string, string>>): HeddleError => {
  try {
    skippedBy(pod(annotations));
  } catch (thrown) {
    if (thrown instanceof HeddleError) return thrown;
  }
  throw new Error('it was taken');
};

test('a pod is in the mesh by its container heddle-proxy, wherever the injector puts it', () => {
  assert.equal(isMeshed(pod({}, { containers: [{ name: 'app' }] })), false);
  assert.equal(isMeshed(pod({}, { containers: [{ name: 'app' }, { name: 'heddle-proxy' }] })), true);
  assert.equal(isMeshed(pod({}, { initContainers: [{ name: 'heddle-proxy' }] })), true);
});

test('what capture leaves alone is read from the annotations, ranges written out', () => {
  const read = skippedBy(
    pod({
      [ANNOTATIONS.skipInboundPorts]: '9090, 8000-8002',
      [ANNOTATIONS.skipOutboundPorts]: '5432',
      [ANNOTATIONS.skipOutboundCidrs]: '10.0.0.0/8, fd00::/8',
    }),
  );
  assert.deepEqual(read, {
    ...{ inbound: [8000, 8001, 8002, 9090], outbound: [5432], cidrs: ['10.0.0.0/8', 'fd00::/8'] },
  });
  assert.deepEqual(skippedBy(pod({})), { inbound: [], outbound: [], cidrs: [] });
});

test('annotations that mean nothing are refused by name, not guessed at', () => {
  for (const [name, value, message] of [
    [ANNOTATIONS.skipInboundPorts, '80,http', /skip-inbound-ports.*"http"/],
    [ANNOTATIONS.skipOutboundPorts, '70000', /skip-outbound-ports.*"70000"/],
    [ANNOTATIONS.skipOutboundCidrs, '10.0.0.0/33', /skip-outbound-cidrs.*"10.0.0.0\/33"/],
  ] as const) {
    const { code, message: said } = refusal({ [name]: value });
    assert.equal(code, 'annotation');
    assert.match(said, message);
  }
});

test('a pod leaves out as many ports and ranges as it may, and no more', () => {
  const name = ANNOTATIONS.skipOutboundPorts;
  assert.equal(skippedBy(pod({ [name]: `1-${skippedPortsMax}` })).outbound.length, skippedPortsMax);
  assert.match(refusal({ [name]: `1-${skippedPortsMax + 1}` }).message, new RegExp(`${skippedPortsMax}`));
  const cidrs = (count: number) =>
    Array.from({ length: count }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`).join();
  const ranges = ANNOTATIONS.skipOutboundCidrs;
  assert.equal(skippedBy(pod({ [ranges]: cidrs(skippedCidrsMax) })).cidrs.length, skippedCidrsMax);
  assert.match(refusal({ [ranges]: cidrs(skippedCidrsMax + 1) }).message, new RegExp(`${skippedCidrsMax}`));
});

test('the sidecar’s container is the one that the status names, by any runtime’s id', () => {
  const id = 'a'.repeat(64);
  const named = pod(
    {},
    {},
    { initContainerStatuses: [{ name: 'heddle-proxy', containerID: `containerd://${id}` }] },
  );
  assert.equal(sidecarContainerId(named), id);
  assert.equal(sidecarContainerId(pod({})), undefined);
  const slice = '/kubepods.slice/kubepods-pod1.slice';
  assert.ok(isCgroupOf(`${slice}/cri-containerd-${id}.scope`, id));
  assert.ok(isCgroupOf(`/kubepods/pod1/${id}`, id));
  assert.ok(!isCgroupOf(`${slice}/cri-containerd-b${id}.scope`, id));
  assert.ok(
    !isCgroupOf(`/kubepods/pod1/${id}/nested`, id),
    'a cgroup that the container made is none of its own',
  );
});
