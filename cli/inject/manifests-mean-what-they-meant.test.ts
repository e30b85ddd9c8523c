import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { documentsOf, runInject } from '../../test/support/inject-command.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { at, listAt, textAt } from '../kube/fields.ts';

leakCheck();

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-inject-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const run = (stdin: string, ...args: readonly string[]) => runInject(folder, stdin, ...args);
const JOB = 'apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\n';

/** Each is something else to kubectl than to YAML 1.2, or would be after a rewrite. */
const VALUES = `
    spec:
      hostIPC: no
      automountServiceAccountToken: off
      terminationGracePeriodSeconds: 1_0
      containers:
      - name: app
        env:
        - {name: A, value: "yes"}
        - {name: B, value: 'off'}
        - {name: C, value: "0755"}
        - {name: D, value: "1_000"}
        - {name: E, value: 22:22}
        - {name: F, value: 12345678901234567890}
      volumes:
      - secret: {secretName: s, defaultMode: 0400}
      - configMap: {name: c, defaultMode: 0o755, items: [{key: k, path: p, mode: 0x1ED}]}
`;

test('what is not injected stays as it is written: file modes and words for true and false', async () => {
  const { out } = await run(`${JOB}spec:\n  template:${VALUES}`);
  for (const line of VALUES.trim().split('\n'))
    assert.ok(out.includes(`${line}\n`), `${line} is missing in\n${out}`);
});

test('values are those that kubectl reads, in JSON and where aliases are written out', async () => {
  const { out } = await run(`${JOB}spec:\n  template:${VALUES}`, '-o', 'json');
  const spec = at(JSON.parse(out), 'spec', 'template', 'spec');
  assert.equal(at(spec, 'hostIPC'), false);
  assert.equal(at(spec, 'automountServiceAccountToken'), false);
  assert.equal(at(spec, 'terminationGracePeriodSeconds'), 10);
  assert.equal(at(spec, 'volumes', 0, 'secret', 'defaultMode'), 0o400);
  assert.equal(at(spec, 'volumes', 1, 'configMap', 'defaultMode'), 0o755);
  assert.equal(at(spec, 'volumes', 1, 'configMap', 'items', 0, 'mode'), 0o755);
  assert.deepEqual(
    listAt(spec, 'containers', 0, 'env')
      .slice(0, 5)
      .map((entry) => at(entry, 'value')),
    ['yes', 'off', '0755', '1_000', '22:22'],
  );
  const aliased = await run(`${JOB}x: &x {}\nspec:\n  template:\n    metadata: *x${VALUES}`);
  for (const entry of ['value: "yes"', 'value: "off"', 'value: "0755"', 'value: "1_000"', 'defaultMode: 256'])
    assert.ok(aliased.out.includes(`${entry}\n`), `${entry} is missing in\n${aliased.out}`);
});

test("a pod on its node's network is one however it says so", async () => {
  const { err } = await run(
    'kind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: yes, containers: [{name: app}]}',
  );
  assert.match(err, /not injected: it uses its node's network/);
});

test('a template without metadata is injected, written as YAML, as JSON and without its aliases', async () => {
  for (const metadata of ['', '    metadata:\n', '    metadata: ~\n'])
    for (const more of ['', 'x: &x 1\ny: *x\n'])
      for (const format of ['yaml', 'json']) {
        const template = `  template:\n${metadata}    spec: {containers: [{name: app}]}\n`;
        const { out } = await run(`${JOB}${more}spec:\n${template}`, '-o', format);
        const annotation = ['spec', 'template', 'metadata', 'annotations', 'heddle.dev/injected'];
        assert.equal(textAt(documentsOf(out)[0], ...annotation), 'default');
      }
});

test('lines end as they did', async () => {
  const text = `${JOB}spec:
  template:
    spec:
      containers:
      - name: app # the only one
        args:
        - |
          one
          two
`;
  const unix = await run(text);
  const windows = await run(text.replaceAll('\n', '\r\n'));
  assert.equal(windows.out, unix.out.replaceAll('\n', '\r\n'));
});

test("others' kinds pass with a reason, also those that have a name of Kubernetes' own", async () => {
  const template = 'spec: {template: {spec: {containers: [{name: app}]}}}\n';
  const text = [
    `apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r}\n${template}`,
    'apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: v}\nspec: {tasks: []}\n',
    `apiVersion: example.org/v1\nkind: Deployment\nmetadata: {name: d}\n${template}`,
    'kind: toString\nspec: {}\n',
  ].join('---\n');
  const { code, out, err } = await run(text);
  assert.deepEqual([code, out], [0, text]);
  assert.match(
    err,
    /:4: Rollout default\/r: not injected: what becomes of a Rollout only its controller knows/,
  );
  assert.match(err, /Deployment default\/d: not injected/);
  assert.doesNotMatch(err, /Job|toString/);
});

test('namespaces of a list say whether their pods are injected', async () => {
  const text = `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: quiet, labels: {heddle.dev/inject: disabled}}}
- {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: quiet}, spec: {containers: [{name: app}]}}
`;
  assert.match(
    (await run(text)).err,
    /not injected: the label heddle\.dev\/inject of namespace quiet says disabled/,
  );
});

test('a folder is its manifests, by name, without those of folders in it', async () => {
  const pod = (name: string) => `kind: Pod\nmetadata: {name: ${name}}\nspec: {containers: [{name: app}]}\n`;
  mkdirSync(join(folder, 'all/deeper'), { recursive: true });
  for (const [file, name] of [
    ['b.yml', 'b'],
    ['a.yaml', 'a'],
    ['notes.txt', 'no'],
    ['deeper/d.yaml', 'no'],
  ] as const)
    writeFileSync(join(folder, 'all', file), pod(name));
  writeFileSync(
    join(folder, 'all/c.json'),
    '{"kind": "Pod", "metadata": {"name": "c"}, "spec": {"containers": [{"name": "app"}]}}',
  );
  const { out, err } = await run('', '-f', 'all');
  assert.deepEqual(
    documentsOf(out).map((one) => textAt(one, 'metadata', 'name')),
    ['a', 'b', 'c'],
  );
  assert.match(err, /^all\/a\.yaml:1: Pod default\/a: injected\n/);
  mkdirSync(join(folder, 'none'));
  await assert.rejects(run('', '-f', 'none'), /none: holds no \.yaml, \.yml or \.json file/);
});

test('the image is pulled as the webhook would have it', async () => {
  const { out } = await run(
    'kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: app}], imagePullSecrets: [{name: own}]}\n',
    ...['--image-pull-policy', 'Always', '--image-pull-secret', 'one', '--image-pull-secret', 'own'],
  );
  const [pod] = documentsOf(out);
  assert.equal(textAt(pod, 'spec', 'initContainers', 0, 'imagePullPolicy'), 'Always');
  assert.deepEqual(at(pod, 'spec', 'imagePullSecrets'), [{ name: 'own' }, { name: 'one' }]);
  for (const [flag, value, message] of [
    ['--image-pull-policy', 'always', /must be Always, IfNotPresent, Never/],
    ['--image-pull-secret', 'A', /must be the name of a Secret/],
    ['--trust-domain', 'Shop Example', /must be a name of lower-case letters/],
    ['--control-plane', 'http://cp:15012', /must be HOST:PORT/],
    ['--control-plane', 'cp:99999', /must be HOST:PORT/],
  ] as const)
    await assert.rejects(run('', flag, value), message);
});

test('what is no text in UTF-8 is told, and not printed with its characters lost', async () => {
  writeFileSync(join(folder, 'latin.yaml'), Buffer.from('# café\nkind: Service\n', 'latin1'));
  await assert.rejects(run('', '-f', 'latin.yaml'), /latin\.yaml: is not text in UTF-8/);
  writeFileSync(join(folder, 'wide.yaml'), Buffer.from('\uFEFFkind: Pod', 'utf16le'));
  await assert.rejects(run('', '-f', 'wide.yaml'), /wide\.yaml: is not text in UTF-8/);
});
