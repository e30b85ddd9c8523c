import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonValue } from '../../common/json.ts';
import { podSpecOf } from '../local/pod-spec.ts';
import { rightsOf, setprivArguments } from './security.ts';

function rights(security: JsonValue, pod: JsonValue = {}) {
  const spec = { securityContext: pod, containers: [{ name: 'app', securityContext: security }] };
  const object = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec };
  const [container] = podSpecOf(object).containers;
  assert.ok(container !== undefined);
  return rightsOf(spec, container);
}

test('without a word a container is root with the capabilities that runtimes leave', () => {
  const { user, group, groups, capabilities, privileged, noNewPrivileges } = rights({});
  assert.deepEqual([user, group, groups, privileged, noNewPrivileges], [0, 0, [], false, false]);
  assert.ok(capabilities.includes('net_bind_service'));
  for (const kept of ['sys_admin', 'net_admin', 'sys_ptrace', 'bpf', 'sys_module'])
    assert.ok(!capabilities.includes(kept), kept);
});

test('the container’s word is above the pod’s', () => {
  const { user, group, groups } = rights(
    { runAsUser: 7 },
    { runAsUser: 5, runAsGroup: 6, fsGroup: 8, supplementalGroups: [9, 8] },
  );
  assert.deepEqual([user, group, groups], [7, 6, [9, 8]]);
});

test('the sidecar has no right at all', () => {
  const sidecar = rights({
    ...{ runAsUser: 1337, runAsGroup: 1337, runAsNonRoot: true, allowPrivilegeEscalation: false },
    capabilities: { drop: ['ALL'] },
  });
  assert.deepEqual(setprivArguments(sidecar), [
    ...['--reuid', '1337', '--regid', '1337', '--clear-groups', '--inh-caps=-all'],
    ...['--bounding-set=-all', '--no-new-privs'],
  ]);
});

test('capabilities are added and dropped one by one', () => {
  const { capabilities } = rights({ capabilities: { add: ['NET_ADMIN', 'CAP_SYS_TIME'], drop: ['CHOWN'] } });
  assert.ok(capabilities.includes('net_admin') && capabilities.includes('sys_time'));
  assert.ok(!capabilities.includes('chown') && capabilities.includes('kill'));
});

test('a privileged container keeps everything', () => {
  const words = setprivArguments(rights({ privileged: true, allowPrivilegeEscalation: false }));
  assert.ok(!words.some((word) => word.startsWith('--bounding-set') || word === '--no-new-privs'));
});

test('one that must not be root and says no user is refused', () => {
  assert.throws(
    () => rights({ runAsNonRoot: true }),
    (thrown: Error) =>
      'code' in thrown && thrown.code === 'container-config' && /runAsUser/.test(thrown.message),
  );
});
