import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listAt, objectAt, textAt } from '../../cli/kube/fields.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { type InjectionCase, injectionCases } from '../../test/support/injection-cases.ts';
import {
  patched,
  probesOf,
  restrictedFaults,
  scraped,
  sidecarOf,
  stored,
  withoutDelay,
  withoutProbes,
} from '../../test/support/injection-simulator.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { injectPod } from './inject.ts';
import { cpuQuantity, memoryQuantity } from './quantity.ts';

leakCheck();

/** The recorded pods that get a sidecar, with what comes out of it. */
const INJECTED = injectionCases().flatMap((one) => {
  const injection = injectPod(one.pod, one.options);
  if (!one.simulated || injection.kind !== 'patch') return [];
  const after = patched(one.pod, injection.operations);
  const { namespace } = one.options;
  return [{ ...one, injection, after, was: stored(one.pod, namespace), is: stored(after, namespace) }];
});

type Injected = (typeof INJECTED)[number];

function each(what: string, check: (one: Injected) => void): void {
  test(what, () => {
    assert.ok(INJECTED.length >= 25, `${INJECTED.length} pods`);
    for (const one of INJECTED) check(one);
  });
}

/** Fields of a pod's spec that an injection may change, each looked at below. */
const CHANGED = ['initContainers', 'containers', 'volumes', 'imagePullSecrets', 'resources'];
const unchanged = (pod: JsonObject) =>
  Object.entries(objectAt(pod, 'spec')).filter(([field]) => !CHANGED.includes(field));
const containers = (pod: JsonObject, list: string): readonly JsonValue[] => listAt(pod, 'spec', list);

each(
  'the sidecar comes first and stays, and everything else keeps its place and content',
  ({ name, pod, after, options }) => {
    const [sidecar, ...others] = containers(after, 'initContainers');
    assert.equal(textAt(sidecar, 'name'), 'heddle-proxy', name);
    assert.equal(textAt(sidecar, 'restartPolicy'), 'Always', name);
    assert.deepEqual(others.map(withoutProbes), containers(pod, 'initContainers').map(withoutProbes), name);
    const apps = containers(pod, 'containers').map(withoutProbes).map(withoutDelay);
    const now = containers(after, 'containers').map(withoutProbes).map(withoutDelay);
    assert.deepEqual(now, apps, name);
    assert.deepEqual(listAt(after, 'spec', 'volumes').slice(0, -1), listAt(pod, 'spec', 'volumes'), name);
    const secrets = listAt(pod, 'spec', 'imagePullSecrets');
    const added = options.imagePullSecrets
      .map((secret) => ({ name: secret }))
      .filter((secret) => !secrets.some((own) => textAt(own, 'name') === secret.name));
    assert.deepEqual(listAt(after, 'spec', 'imagePullSecrets'), [...secrets, ...added], name);
    assert.deepEqual(unchanged(after), unchanged(pod), name);
  },
);

each('the annotation that the node agent goes by is there', ({ name, after }) => {
  assert.equal(textAt(after, 'metadata', 'annotations', 'heddle.dev/injected'), 'default', name);
});

each('the sidecar understands its environment, all of it', ({ name, is, options }) => {
  const { bootstrap } = sidecarOf(is);
  assert.deepEqual(bootstrap.unknown, [], name);
  const { podName, podNamespace, podIp, podIps, nodeName } = bootstrap;
  assert.deepEqual(
    { podName, podNamespace, nodeName },
    { ...{ podName: is.metadata.name, podNamespace: 'shop' }, nodeName: 'node-1' },
    name,
  );
  assert.deepEqual([podIp, ...podIps], ['10.244.1.7', '10.244.1.7', 'fd10:244:1::7'], name);
  assert.equal(bootstrap.controlPlane, options.controlPlane, name);
  assert.equal(bootstrap.capture, options.capture, name);
});

each('token and roots are where the sidecar looks for them', ({ name, is }) => {
  const { bootstrap, spec } = sidecarOf(is);
  const [mount] = spec.volumeMounts;
  const volume = listAt(is.spec, 'volumes').find((one) => textAt(one, 'name') === mount?.name);
  const [token, roots] = listAt(volume, 'projected', 'sources');
  assert.equal(
    `${mount?.mountPath}/${textAt(token, 'serviceAccountToken', 'path')}`,
    bootstrap.tokenFile,
    name,
  );
  assert.equal(textAt(token, 'serviceAccountToken', 'audience'), 'heddle-ca', name);
  const [item] = listAt(roots, 'configMap', 'items');
  assert.equal(`${mount?.mountPath}/${textAt(item, 'path')}`, bootstrap.rootFile, name);
  assert.equal(textAt(roots, 'configMap', 'name'), 'heddle-trust-bundle', name);
});

each('every probe asks the same of the app as before', ({ name, was, is, injection }) => {
  const before = probesOf(was);
  const now = probesOf(is, sidecarOf(is).bootstrap);
  assert.deepEqual([...now.keys()], [...before.keys()], name);
  for (const [probe, asks] of before) assert.deepEqual(now.get(probe), asks, `${name}: ${probe}`);
  const unled = [...before.values()].filter((one) => one.kind !== 'exec' && one.host === undefined).length;
  const led = JSON.stringify(is.spec).match(/"path":"\/app-health\//g)?.length ?? 0;
  const warned = injection.warnings.filter((warning) => warning.includes('fails under STRICT: ')).length;
  if (before.size > 0) assert.equal(led + warned, unled, `${name}: led to the sidecar, or warned of`);
});

each('Prometheus still gets what it got, through the sidecar', ({ name, was, is, injection }) => {
  const app = sidecarOf(is).bootstrap.appMetrics;
  const before = scraped(was);
  const refused = injection.warnings.some((warning) => warning.startsWith('Prometheus'));
  if (before === undefined || refused || before === '15020/metrics') {
    assert.equal(app, undefined, name);
    assert.equal(scraped(is), before, name);
    return;
  }
  assert.equal(scraped(is), '15020/metrics', name);
  assert.equal(`${app?.port}${app?.path}`, before, name);
});

each('no request for resources is above its limit', ({ name, after }) => {
  const resources = objectAt(containers(after, 'initContainers')[0], 'resources');
  for (const [kind, parse] of [
    ['cpu', cpuQuantity],
    ['memory', memoryQuantity],
  ] as const) {
    const request = parse(textAt(resources, 'requests', kind) ?? '');
    const limit = textAt(resources, 'limits', kind);
    assert.ok(request !== undefined, name);
    if (limit !== undefined) assert.ok(request.size <= (parse(limit)?.size ?? 0), `${name}: ${kind}`);
  }
});

each('what the pod has for all its containers grows by what the sidecar may take', ({ name, pod, after }) => {
  const sidecar = objectAt(containers(after, 'initContainers')[0], 'resources');
  const before = objectAt(pod, 'spec', 'resources');
  assert.deepEqual(Object.keys(objectAt(after, 'spec', 'resources')), Object.keys(before), name);
  for (const bound of ['requests', 'limits'])
    for (const [kind, had] of Object.entries(objectAt(before, bound))) {
      const parse = kind === 'cpu' ? cpuQuantity : memoryQuantity;
      const has = textAt(after, 'spec', 'resources', bound, kind) ?? '';
      const more = textAt(sidecar, bound, kind) ?? textAt(sidecar, 'requests', kind) ?? '';
      if (parse(String(had)) === undefined) assert.equal(has, had, name);
      else
        assert.equal(
          parse(has)?.size,
          (parse(String(had))?.size ?? 0) + (parse(more)?.size ?? 0),
          `${name}: ${bound} ${kind}`,
        );
    }
});

each(
  'a second pass changes nothing, also over what the API server has filled in',
  ({ name, after, is, options }) => {
    for (const pod of [after, is]) {
      const again = injectPod(pod, options);
      assert.deepEqual(
        { kind: again.kind, reason: 'reason' in again ? again.reason : '' },
        { kind: 'skip', reason: 'it is injected already' },
        name,
      );
    }
  },
);

test('a pod within the restricted Pod Security level stays there', () => {
  const restricted = INJECTED.filter((one: InjectionCase) => one.restricted);
  assert.ok(restricted.length >= 2);
  for (const { name, was, is } of restricted) {
    assert.deepEqual(restrictedFaults(was), [], name);
    assert.deepEqual(restrictedFaults(is), [], name);
  }
});

test('a pod that another webhook has changed in between has its sidecar first again, with all probes', () => {
  const changed = injectionCases().find((one) => one.name === 'injected-and-changed-since');
  assert.ok(changed !== undefined);
  const injection = injectPod(changed.pod, changed.options);
  assert.ok(injection.kind === 'patch');
  const after = patched(changed.pod, injection.operations);
  const names = containers(after, 'initContainers').map((one) => textAt(one, 'name'));
  assert.deepEqual(names, ['heddle-proxy', 'vault']);
  const [sidecar] = containers(after, 'initContainers');
  assert.equal(textAt(sidecar, 'image'), 'heddle-proxy:1', 'the sidecar of the first pass');
  const variable = listAt(sidecar, 'env').find((one) => textAt(one, 'name') === 'HEDDLE_APP_PROBES');
  const carried: unknown = JSON.parse((textAt(variable, 'value') ?? '').replaceAll('$$', '$'));
  assert.ok(isJsonObject(carried));
  assert.deepEqual(carried, {
    app: { livez: { httpGet: { path: '/$', port: 8080 } } },
    vault: { livez: { httpGet: { path: '/v1/sys/health', port: 8200 } } },
    added: { readyz: { tcpSocket: { port: 7000 } } },
  });
  assert.equal(injectPod(after, changed.options).kind, 'skip');
});
