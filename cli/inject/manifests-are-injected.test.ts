import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { parse } from 'yaml';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import { injectPod } from '../../injector/patch/inject.ts';
import { documentsOf, runInject } from '../../test/support/inject-command.ts';
import { INJECTION_OPTIONS, injectionCases } from '../../test/support/injection-cases.ts';
import { patched } from '../../test/support/injection-simulator.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { at, listAt, textAt } from '../kube/fields.ts';

leakCheck();

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-inject-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const run = (stdin: string, ...args: readonly string[]) => runInject(folder, stdin, ...args);

const TEMPLATE = '{spec: {containers: [{name: app, image: shop}]}}';
const WORKLOADS: readonly (readonly [kind: string, manifest: string, ...path: string[]])[] = [
  ['Pod', 'spec: {containers: [{name: app, image: shop}]}'],
  ...['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController', 'Job'].map(
    (kind) => [kind, `spec: {template: ${TEMPLATE}}`, 'spec', 'template'] as const,
  ),
  [
    'CronJob',
    `spec: {jobTemplate: {spec: {template: ${TEMPLATE}}}}`,
    'spec',
    'jobTemplate',
    'spec',
    'template',
  ],
  ['PodTemplate', `template: ${TEMPLATE}`, 'template'],
];
for (const [kind, manifest, ...path] of WORKLOADS)
  test(`the pod of a ${kind} is injected as the webhook would`, async () => {
    const text = `kind: ${kind}\nmetadata: {name: web}\n${manifest}\n`;
    const { code, out, err } = await run(
      text,
      '-n',
      'shop',
      '--image',
      'heddle-proxy:test',
      '--control-plane',
      INJECTION_OPTIONS.controlPlane,
    );
    assert.equal(code, 0);
    assert.equal(err, `standard input:${path.length === 0 ? 1 : 3}: ${kind} shop/web: injected\n`);
    const [was, is] = [parse(text) as JsonValue, documentsOf(out)[0]];
    // As it comes to the webhook it names its controller; what a PodTemplate is for nobody knows.
    const controlled = kind !== 'Pod' && kind !== 'PodTemplate';
    const metadata = controlled ? { ownerReferences: [{ kind, name: 'web', controller: true }] } : {};
    const pod = { kind: 'Pod', metadata, ...(at(was, ...path) as JsonObject) };
    const injection = injectPod(pod, INJECTION_OPTIONS);
    assert.ok(injection.kind === 'patch');
    const expected = patched(pod, injection.operations);
    assert.deepEqual(at(is, ...path, 'spec'), expected.spec);
    assert.equal(textAt(is, ...path, 'metadata', 'annotations', 'heddle.dev/injected'), 'default');
  });

test('every recorded pod becomes in a file what it becomes at the webhook', async () => {
  let compared = 0;
  for (const { name, pod, options } of injectionCases()) {
    const injection = injectPod(pod, { ...INJECTION_OPTIONS, namespace: options.namespace });
    if (injection.kind !== 'patch') continue;
    const args = [
      '-n',
      options.namespace,
      '--image',
      'heddle-proxy:test',
      '--control-plane',
      options.controlPlane,
    ];
    const { out } = await run(JSON.stringify(pod, undefined, 2), ...args);
    assert.deepEqual(documentsOf(out)[0], patched(pod, injection.operations), name);
    const json = await run(JSON.stringify(pod), ...args, '-o', 'json');
    assert.deepEqual(JSON.parse(json.out), patched(pod, injection.operations), name);
    compared++;
  }
  assert.ok(compared >= 40, `${compared} pods`);
});

const STREAM = `# The shop. %
apiVersion: v1
kind: Namespace
metadata: {name:   shop}   # odd blanks stay
---
# its web
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web # the front
spec:
  template:
    spec:
      containers:
      # the only one
      - name: web
        image: shop
        readinessProbe: {httpGet: {port: 8080}}  # asks
---
# nothing but words
---
kind: ConfigMap
data: {text: "two
  lines"}
...
`;

test('documents keep their order, and those without pods every byte; comments of the others stay', async () => {
  const { out } = await run(STREAM);
  const [first, , , ...rest] = STREAM.split(/^(?=---)/m);
  assert.ok(first !== undefined && out.startsWith(first));
  assert.ok(out.endsWith(rest.join('')));
  for (const comment of [
    '# its web',
    'name: web # the front',
    '# the only one',
    '# asks',
    '\n---\n# nothing but words\n',
  ])
    assert.ok(out.includes(comment), comment);
  assert.match(out, /\n {6}containers:\n {6}# the only one\n {6}- name: web\n/);
  assert.deepEqual(
    documentsOf(out).map((one) => textAt(one, 'kind')),
    ['Namespace', 'Deployment', undefined, 'ConfigMap'],
  );
});

test('what has nothing to inject comes out as it went in', async () => {
  const text = '\uFEFF%YAML 1.2\n---\nkind: Service # s\n...\n# end';
  const { code, out, err } = await run(text);
  assert.deepEqual([code, out.trimEnd()], [0, text]);
  assert.match(err, /no pods and no pod templates/);
});

test('lists are opened, with items that leave out what they are', async () => {
  const item = { metadata: { name: 'a' }, spec: { template: { spec: { containers: [{ name: 'app' }] } } } };
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'DeploymentList', items: [item] });
  const { out, err } = await run(text);
  assert.match(err, /Deployment default\/a: injected/);
  const [list] = documentsOf(out);
  assert.equal(
    textAt(list, 'items', 0, 'spec', 'template', 'spec', 'initContainers', 0, 'name'),
    'heddle-proxy',
  );
});

test('aliases and merge keys are written out where they reach a pod', async () => {
  const text = `kind: Pod
metadata: {name: a}
x: &defaults {image: shop}
spec:
  containers:
  - {name: one, <<: *defaults}
  - {name: two, <<: *defaults}
`;
  const { code, out } = await run(text);
  assert.equal(code, 0);
  const containers = listAt(documentsOf(out)[0], 'spec', 'containers');
  assert.deepEqual(
    containers,
    [
      { image: 'shop', name: 'one' },
      { image: 'shop', name: 'two' },
    ].map(({ name, image }) => ({ name, image, lifecycle: { preStop: { sleep: { seconds: 5 } } } })),
  );
});

test('each pod that stays without a sidecar has its reason', async () => {
  const pod = (metadata: string, more = '') =>
    `kind: Pod\nmetadata: ${metadata}\nspec: {${more}containers: [{name: app}]}\n`;
  const { code, out, err } = await run(
    [
      pod('{name: a, labels: {heddle.dev/inject: disabled}}'),
      pod('{name: b}', 'hostNetwork: true, '),
      pod('{name: c, namespace: kube-system}'),
      pod('{name: d, namespace: quiet}'),
      pod('{name: e, labels: {heddle.dev/rev: r2}}'),
      pod('{name: f, namespace: next}'),
      'kind: Namespace\nmetadata: {name: quiet, labels: {heddle.dev/inject: disabled}}\n',
      'kind: Namespace\nmetadata: {name: next, labels: {heddle.dev/rev: r3}}\n',
    ].join('---\n'),
  );
  assert.equal(code, 0);
  assert.ok(!out.includes('heddle-proxy'));
  const reasons = err
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/^.*not injected: /, ''));
  assert.deepEqual(reasons, [
    'its label heddle.dev/inject says disabled',
    "it uses its node's network (hostNetwork)",
    'pods of kube-system are never injected',
    'the label heddle.dev/inject of namespace quiet says disabled',
    'it belongs to revision r2, and this is default',
    'it belongs to revision r3, and this is default',
  ]);
});

test('a revision injects its own', async () => {
  const { out } = await run(
    'kind: Pod\nmetadata: {name: e, labels: {heddle.dev/rev: r2}}\nspec: {containers: [{name: app}]}\n',
    '--revision',
    'r2',
  );
  assert.equal(textAt(documentsOf(out)[0], 'metadata', 'annotations', 'heddle.dev/injected'), 'r2');
});

test('a refusal prints nothing of any file, and ends with 1', async () => {
  writeFileSync(
    join(folder, 'good.yaml'),
    'kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: app}]}\n',
  );
  writeFileSync(
    join(folder, 'bad.yaml'),
    'kind: Pod\nmetadata: {name: b}\nspec: {containers: [{name: heddle-proxy}]}\n',
  );
  const { code, out, err } = await run('', '-f', 'good.yaml', '-f', 'bad.yaml');
  assert.deepEqual([code, out], [1, '']);
  assert.match(
    err,
    /bad\.yaml:1: Pod default\/b: refused: the container name heddle-proxy belongs to the sidecar/,
  );
  assert.match(err, /nothing was printed/);
  const both = await run('', '-f', 'good.yaml', '-f', 'good.yaml');
  assert.equal(documentsOf(both.out).length, 2);
});

test('what passes twice is the same as what passes once', async () => {
  const once = await run(STREAM);
  const twice = await run(once.out);
  assert.equal(twice.out, once.out);
  assert.match(twice.err, /not injected: it is injected already/);
});

test('what can not be read is told with its line', async () => {
  await assert.rejects(run('kind: Pod\n---\nkind: [\n'), /standard input:\d: /);
  await assert.rejects(run('a: 1\n---\nb: 1\nb: 2\n'), /standard input:4: the key b stands here twice/);
  await assert.rejects(run('', '-f', 'missing.yaml'), /missing\.yaml: .*no such file/);
  await assert.rejects(run('', '--revision', 'R'), /--revision must be/);
  await assert.rejects(run('', '--control-plane', 'here'), /--control-plane must be HOST:PORT/);
  await assert.rejects(run('x'.repeat(5 * 1024 * 1024)), /more than 4194304 bytes/);
});
