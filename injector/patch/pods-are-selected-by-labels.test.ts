import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { selects } from '../../cli/kube/selector.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import { selectionOf, webhookConfiguration, webhooksOf } from './webhooks.ts';

leakCheck();

type Labels = Readonly<Record<string, string>>;

const INJECT = 'heddle.dev/inject';
const REV = 'heddle.dev/rev';
const REVISIONS = ['default', 'r2', 'r3'] as const;

function everyLabelling(): Labels[] {
  return [undefined, 'enabled', 'disabled', 'yes'].flatMap((inject) =>
    [undefined, ...REVISIONS].map((rev) => ({
      ...(inject === undefined ? {} : { [INJECT]: inject }),
      ...(rev === undefined ? {} : { [REV]: rev }),
    })),
  );
}

test('the selectors of all revisions say what the labels mean, and no pod is asked about twice', () => {
  for (const namespace of ['shop', 'kube-system', 'heddle-system'])
    for (const own of everyLabelling())
      for (const pod of everyLabelling()) {
        const labels = { ...own, 'kubernetes.io/metadata.name': namespace };
        const { selected, revision } = selectionOf(namespace, own, pod);
        const asked = REVISIONS.flatMap((one) =>
          webhooksOf(one)
            .filter(
              ({ namespaceSelector, objectSelector }) =>
                selects(namespaceSelector, labels) && selects(objectSelector, pod),
            )
            .map(() => one),
        );
        const what = `${namespace} ${JSON.stringify(own)} ${JSON.stringify(pod)}`;
        assert.deepEqual(asked, selected ? [revision] : [], what);
      }
});

const MEANINGS: readonly [namespace: Labels, pod: Labels, revision: string | undefined, reason: RegExp][] = [
  [{}, {}, undefined, /neither the label heddle\.dev\/inject=enabled nor heddle\.dev\/rev/],
  [{ [INJECT]: 'true' }, {}, undefined, /must be enabled or disabled, not "true"/],
  [{ [INJECT]: 'enabled' }, {}, 'default', /inject of namespace shop says enabled/],
  [{ [INJECT]: 'enabled' }, { [INJECT]: 'disabled' }, undefined, /its label .* says disabled/],
  [{ [INJECT]: 'disabled' }, { [INJECT]: 'enabled' }, 'default', /its label .* says enabled/],
  [{ [INJECT]: 'disabled', [REV]: 'r2' }, {}, undefined, /of namespace shop says disabled/],
  [{ [REV]: 'r2' }, {}, 'r2', /rev of namespace shop names r2/],
  [{ [REV]: 'r2' }, { [INJECT]: 'enabled' }, 'r2', /its label heddle\.dev\/inject says enabled/],
  [{ [REV]: 'r2', [INJECT]: 'enabled' }, {}, 'default', /inject of namespace shop/],
  [{ [REV]: 'r2' }, { [REV]: 'r3' }, 'r3', /its label heddle\.dev\/rev names r3/],
  [{ [INJECT]: 'enabled' }, { [REV]: 'r3' }, 'r3', /its label heddle\.dev\/rev names r3/],
  [{}, { [REV]: 'r3' }, 'r3', /its label/],
  [{ [INJECT]: 'disabled' }, { [REV]: 'r3' }, undefined, /of namespace shop says disabled/],
];
for (const [namespace, pod, revision, reason] of MEANINGS)
  test(`a pod ${JSON.stringify(pod)} of a namespace ${JSON.stringify(namespace)} gets ${revision ?? 'nothing'}`, () => {
    const selection = selectionOf('shop', namespace, pod);
    assert.equal(selection.selected ? selection.revision : undefined, revision);
    assert.match(selection.reason, reason);
  });

test('the page shows the webhook configuration as it is', () => {
  const page = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, shown = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const service = { namespace: 'heddle-system', name: 'heddle-injector', port: 443, path: '/inject' };
  assert.deepEqual(parse(shown, { merge: true }), webhookConfiguration('default', { service }));
});
