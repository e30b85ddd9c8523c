import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as agent from '../../../cni/agent/options.ts';
import * as dns from '../../../cni/dns/options.ts';
import type { Result } from '../../../common/errors.ts';
import * as controlPlane from '../../../control-plane/options.ts';
import * as injector from '../../../injector/options.ts';
import { injectorName, webhookConfiguration } from '../../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { recordOf } from '../../../model/read/meta.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { labelOf, objectsOf, render } from './helm.ts';
import { VARIANTS } from './variants.ts';

leakCheck();

interface Container {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
}

const PARSERS: Readonly<Record<string, (args: readonly string[]) => Result<unknown>>> = {
  '/heddle/control-plane/main.mjs': controlPlane.parseOptions,
  '/heddle/injector/main.mjs': injector.parseOptions,
  '/heddle/cni/agent/main.mjs': agent.parseOptions,
  '/heddle/cni/dns/main.mjs': dns.parseOptions,
};

const rendered = new Map<string, readonly KubeObject[]>();
function variant(name: keyof typeof VARIANTS): readonly KubeObject[] {
  const known = rendered.get(name) ?? objectsOf(render(...VARIANTS[name]));
  rendered.set(name, known);
  return known;
}

function containersOf(objects: readonly KubeObject[]): readonly Container[] {
  return objects.flatMap((object) => {
    const template = recordOf(recordOf(object.spec).template);
    const { containers } = recordOf(template.spec);
    return Array.isArray(containers) ? (containers as readonly Container[]) : [];
  });
}

function withoutLabels({ metadata: { labels: _, ...metadata }, ...object }: KubeObject) {
  return { ...object, metadata };
}

const NAMES = Object.keys(VARIANTS) as (keyof typeof VARIANTS)[];

for (const name of NAMES) {
  test(`every program takes the arguments that it is started with: ${name}`, () => {
    const containers = containersOf(variant(name));
    assert.ok(containers.length >= 2);
    for (const { command, args } of containers) {
      const [node, program = ''] = command;
      assert.equal(node, '/usr/local/bin/node');
      const read = PARSERS[program]?.(args.map((arg) => arg.replace('$(NODE_NAME)', 'node-1')));
      assert.ok(read?.ok === true, `${program}: ${read?.ok === false ? read.error.message : 'unknown'}`);
    }
  });
}

for (const [name, revision] of [
  ['default', 'default'],
  ['revision', 'r2'],
] as const) {
  test(`the webhook selects what the injector's own rules say: revision ${revision}`, () => {
    const [found] = variant(name).filter(({ kind }) => kind === 'MutatingWebhookConfiguration');
    assert.ok(found);
    const service = {
      namespace: 'heddle-system',
      name: injectorName(revision),
      ...{ port: 443, path: '/inject' },
    };
    assert.deepEqual(withoutLabels(found), webhookConfiguration(revision, { service }));
    assert.equal(found.metadata.labels?.['app.kubernetes.io/part-of'], 'heddle');
  });
}

test('releases of two revisions have no object in common', () => {
  const first = new Set(variant('default').map(labelOf));
  const second = variant('revision').map(labelOf);
  assert.ok(second.length > 5);
  assert.deepEqual(
    second.filter((label) => first.has(label)),
    [],
  );
});

test('every object and pod says that it is part of Heddle', () => {
  for (const name of NAMES)
    for (const object of variant(name)) {
      const template = recordOf(recordOf(recordOf(object.spec).template).metadata);
      for (const labels of [
        object.metadata.labels,
        ...(template.labels === undefined ? [] : [template.labels]),
      ])
        assert.equal(recordOf(labels)['app.kubernetes.io/part-of'], 'heddle', labelOf(object));
    }
});

test('pods are selected by labels that they have', () => {
  for (const object of variant('everything-set')) {
    const selector = recordOf(recordOf(recordOf(object.spec).selector).matchLabels);
    const template = recordOf(recordOf(recordOf(object.spec).template).metadata);
    if (template.labels === undefined) continue;
    for (const [key, value] of Object.entries(selector)) assert.equal(recordOf(template.labels)[key], value);
  }
});

test('without the CNI there is no agent and none of its rights', () => {
  const labels = variant('without-cni').map(labelOf);
  assert.deepEqual(
    labels.filter((label) => /cni|kube-dns/.test(label)),
    [],
  );
});

test('behind another CNI there is no DNS of ours, and nothing is kept at the end', () => {
  const objects = variant('chained');
  assert.deepEqual(
    containersOf(objects).map(({ name }) => name),
    ['agent', 'control-plane', 'injector'],
  );
  assert.deepEqual(
    objects.filter(({ metadata }) => metadata.annotations?.['helm.sh/resource-policy'] !== undefined),
    [],
  );
});

test("the pods' network is kept at the end where there is no other", () => {
  const kept = variant('default').filter(
    ({ metadata }) => metadata.annotations?.['helm.sh/resource-policy'] === 'keep',
  );
  assert.deepEqual(kept.map(labelOf).toSorted(), [
    'ClusterRole heddle-cni',
    'ClusterRoleBinding heddle-cni',
    'DaemonSet heddle-system/heddle-cni',
    'Service kube-system/kube-dns',
    'ServiceAccount heddle-system/heddle-cni',
  ]);
});

test('images are named by registry, repository and tag or digest', () => {
  const images = containersOf(variant('everything-set')).map(({ image }) => image);
  assert.deepEqual(
    [...new Set(images)],
    ['registry.example/heddle/heddle-cni:1.2.3', 'registry.example/heddle/heddle-control-plane:1.2.3'],
  );
  const [args] = containersOf(variant('everything-set')).flatMap((one) =>
    one.name === 'injector' ? [one.args] : [],
  );
  assert.ok(args?.includes(`--image=registry.example/heddle/heddle-proxy@sha256:${'0'.repeat(64)}`));
  assert.ok(args?.includes('--trust-domain=shop.example'));
});

test('no right reaches further than the pages of the rooms say', () => {
  for (const { kind, rules, metadata } of variant('default') as readonly (KubeObject & {
    rules?: unknown;
  })[]) {
    if (kind !== 'ClusterRole' && kind !== 'Role') continue;
    const text = JSON.stringify(rules);
    assert.ok(!text.includes('*'), `${metadata.name} has a wildcard`);
    assert.ok(!/escalate|bind|impersonate|pods\/exec|nodes\/proxy|"update"/.test(text), metadata.name);
    for (const rule of rules as readonly Readonly<Record<string, readonly string[]>>[])
      if (rule.resources?.includes('secrets') && !rule.verbs?.every((verb) => verb === 'create'))
        assert.deepEqual(rule.resourceNames, ['heddle-ca'], 'no Secret but the root is read');
  }
});
