import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listAt, textAt } from '../../cli/kube/fields.ts';
import { patchOperationsMax } from '../../cli/local/json-patch.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { appProbesMax, parseAppProbes } from '../../proxy/admin/app-probe-spec.ts';
import { INJECTION_OPTIONS } from '../../test/support/injection-cases.ts';
import { patched, sidecarOf, stored } from '../../test/support/injection-simulator.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { annotationCharsMax } from './annotations.ts';
import { injectPod, standingCharsMax } from './inject.ts';
import { containersMax } from './pod.ts';
import { carriedProbesCharsMax, carriedProbesMax, probeTimeoutSecondsMax } from './probes.ts';
import { cpuQuantity, memoryQuantity } from './quantity.ts';

leakCheck();

function podOf(containers: readonly JsonValue[], init: readonly JsonValue[] = []): JsonObject {
  return {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'large' } },
    spec: { initContainers: init, containers },
  };
}

const plain = (count: number): JsonObject[] =>
  Array.from({ length: count }, (_, index) => ({ name: `c${index}`, image: 'shop' }));
const probe = { tcpSocket: { port: 80 } };

test('a pod of as many containers as may be injected is, one of more is refused', () => {
  const inject = (count: number) => injectPod(podOf(plain(count - 1), plain(1)), INJECTION_OPTIONS);
  assert.equal(inject(containersMax).kind, 'patch');
  const refused = inject(containersMax + 1);
  assert.ok(refused.kind === 'refuse');
  assert.match(refused.message, /257 containers; 256 may be injected/);
});

test('the sidecar is given as many probes as it takes; the others stay, with a warning', () => {
  assert.equal(carriedProbesMax, appProbesMax);
  const probed = plain(40).map((one) => ({
    ...one,
    livenessProbe: probe,
    readinessProbe: probe,
    startupProbe: probe,
  }));
  const pod = podOf(probed);
  const injection = injectPod(pod, INJECTION_OPTIONS);
  assert.ok(injection.kind === 'patch');
  assert.ok(injection.operations.length < patchOperationsMax);
  assert.equal(injection.warnings.length, 120 - carriedProbesMax);
  assert.match(
    injection.warnings[0] ?? '',
    /container c32 goes to the app itself .*: a sidecar asks 96 probes/,
  );
  const after = patched(pod, injection.operations);
  assert.equal(sidecarOf(stored(after, 'shop')).bootstrap.appProbes.size, carriedProbesMax);
  const again = injectPod(after, INJECTION_OPTIONS);
  assert.ok(again.kind === 'skip', 'also those of a second pass');
});

test('the longest timeout that the sidecar takes is carried', () => {
  const injection = injectPod(
    podOf([{ name: 'app', livenessProbe: { ...probe, timeoutSeconds: probeTimeoutSecondsMax } }]),
    INJECTION_OPTIONS,
  );
  assert.ok(injection.kind === 'patch');
  const sidecar = injection.operations.at(-1);
  assert.ok(sidecar !== undefined && 'value' in sidecar);
  const carried = listAt(sidecar.value, 'env').find((one) => textAt(one, 'name') === 'HEDDLE_APP_PROBES');
  assert.ok(parseAppProbes(textAt(carried, 'value') ?? '').ok);
});

test('the sidecar is told no more of probes than fits into a variable; the others stay, with a warning', () => {
  const probed = (value: string) => ({
    httpGet: { port: 80, httpHeaders: [{ name: 'x', value }] },
  });
  const pod = podOf([
    { name: 'app', livenessProbe: probed('x'.repeat(carriedProbesCharsMax)), readinessProbe: probed('x') },
  ]);
  const injection = injectPod(pod, INJECTION_OPTIONS);
  assert.ok(injection.kind === 'patch');
  assert.equal(injection.warnings.length, 1);
  assert.match(
    injection.warnings[0] ?? '',
    /^the livenessProbe of container app goes to the app itself .* make its headers or path shorter$/,
  );
  const { appProbes } = sidecarOf(stored(patched(pod, injection.operations), 'shop')).bootstrap;
  assert.deepEqual([...appProbes.keys()], ['/app-health/app/readyz']);
});

test('an annotation longer than any that makes sense is refused, and not repeated', () => {
  const annotated = (ports: string): JsonObject => ({
    ...podOf(plain(1)),
    metadata: { name: 'app', annotations: { 'heddle.dev/opaque-ports': ports } },
  });
  const fits = '80,'.repeat(annotationCharsMax).slice(0, annotationCharsMax - 1);
  assert.equal(injectPod(annotated(fits), INJECTION_OPTIONS).kind, 'patch');
  assert.deepEqual(injectPod(annotated(`${fits},80`), INJECTION_OPTIONS), {
    kind: 'refuse',
    message: `the annotation heddle.dev/opaque-ports may have ${annotationCharsMax} characters`,
  });
});

test('a sidecar that is there already is not repeated beyond a limit', () => {
  const standing = (chars: number): JsonObject => ({
    ...podOf(plain(1), [
      { name: 'first' },
      { name: 'heddle-proxy', restartPolicy: 'Always', args: ['x'.repeat(chars)] },
    ]),
    metadata: { name: 'app', annotations: { 'heddle.dev/injected': 'default' } },
  });
  assert.equal(injectPod(standing(standingCharsMax - 100), INJECTION_OPTIONS).kind, 'patch');
  const refused = injectPod(standing(standingCharsMax), INJECTION_OPTIONS);
  assert.ok(refused.kind === 'refuse');
  assert.match(
    refused.message,
    /heddle-proxy has more than 131072 characters: create the pod from a manifest/,
  );
});

test('quantities are those of Kubernetes, in the units that make sense for each', () => {
  const cpu = (text: string) => cpuQuantity(text)?.size;
  assert.deepEqual(['1m', '100m', '0.5', '2', '1.25'].map(cpu), [1, 100, 500, 2_000, 1_250]);
  for (const text of ['', '0', '0m', '-1', '.5', '1.2345', '1k', '1Gi', '1e3', '1 ', '9999999', '0x1'])
    assert.equal(cpuQuantity(text), undefined, text);
  const memory = (text: string) => memoryQuantity(text)?.size;
  assert.deepEqual(['1', '64Mi', '0.5Gi', '128M', '1k', '1Ti'].map(memory), [
    1,
    64 * 2 ** 20,
    2 ** 29,
    128e6,
    1e3,
    2 ** 40,
  ]);
  for (const text of ['', '0', '-1', '100m', '1K', '1mi', 'Mi', '1e3', '0.1', '1 Mi', '64MB'])
    assert.equal(memoryQuantity(text), undefined, text);
});

test('whatever is not a pod is refused by what is wrong with it', () => {
  const shapes: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /not a Pod/],
    [null, /not a Pod/],
    ['Pod', /not a Pod/],
    [[], /not a Pod/],
    [{ kind: 'Deployment', metadata: {}, spec: {} }, /not a Pod/],
    [{ kind: 'Pod', spec: {} }, /no metadata/],
    [{ kind: 'Pod', metadata: {} }, /no spec/],
    [{ kind: 'Pod', metadata: {}, spec: [] }, /no spec/],
    [{ kind: 'Pod', metadata: {}, spec: {} }, /no containers/],
    [podOf([]), /no containers/],
    [{ kind: 'Pod', metadata: {}, spec: { containers: 'app' } }, /spec\.containers is not a list/],
    [{ kind: 'Pod', metadata: {}, spec: { containers: { length: 1 } } }, /spec\.containers is not a list/],
    [podOf([null]), /spec\.containers\[0\] is not a container/],
    [podOf([{ name: 'app' }, { name: '../../etc' }]), /spec\.containers\[1\]/],
    [podOf([{ name: 'app' }], [{ name: 7 }]), /spec\.initContainers\[0\]/],
  ];
  for (const [pod, message] of shapes) {
    const injection = injectPod(pod, INJECTION_OPTIONS);
    assert.ok(injection.kind === 'refuse', JSON.stringify(pod));
    assert.match(injection.message, message);
  }
});

test('fields of another type than they have are read as absent', () => {
  const odd = JSON.parse(
    `{"kind":"Pod","metadata":{"labels":7,"annotations":["a"],"__proto__":{"x":1}},"spec":{"hostNetwork":"true","os":1,
      "securityContext":[1337],"volumes":"v","initContainers":null,
      "containers":[{"name":"app","ports":[1,{"containerPort":"80"}],"lifecycle":1,"securityContext":"root",
        "livenessProbe":{"httpGet":[1]},"readinessProbe":"no","startupProbe":{"httpGet":{"port":{"a":[[]]}}}}]}}`,
  ) as JsonObject;
  const injection = injectPod(odd, INJECTION_OPTIONS);
  assert.ok(injection.kind === 'patch');
  const sidecar = listAt(patched(odd, injection.operations), 'spec', 'initContainers')[0];
  assert.equal(textAt(sidecar, 'name'), 'heddle-proxy');
  assert.equal(JSON.stringify(sidecar).includes('HEDDLE_APP_PROBES'), false);
});
