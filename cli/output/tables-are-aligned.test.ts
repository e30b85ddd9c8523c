import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../model/objects.ts';
import { KINDS } from '../kube/kinds.ts';
import { palette } from './colour.ts';
import { columnsOf, podStatus } from './columns.ts';
import { problemLine, shownPath } from './problem.ts';
import { formatAge, formatTable } from './table.ts';

test('columns are as wide as their widest cell, without blanks at the end', () => {
  assert.equal(
    formatTable(
      ['NAME', 'AGE'],
      [
        ['a', '1s'],
        ['longer', ''],
      ],
    ),
    'NAME     AGE\na        1s\nlonger\n',
  );
});

const ages: readonly [number, string][] = [
  [-5, '0s'],
  [0, '0s'],
  [119, '119s'],
  [120, '2m'],
  [150, '2m30s'],
  [600, '10m'],
  [179 * 60, '179m'],
  [180 * 60, '3h'],
  [200 * 60, '3h20m'],
  [9 * 3_600, '9h'],
  [47 * 3_600, '47h'],
  [48 * 3_600, '2d'],
];
for (const [seconds, text] of ages)
  test(`an age of ${seconds} s is ${text}`, () => {
    assert.equal(formatAge(seconds * 1_000), text);
  });

const NOW_MS = Date.UTC(2026, 0, 1, 0, 1);
const row = (object: KubeObject, wide = false) =>
  Object.fromEntries(
    columnsOf(object.kind)
      .filter((column) => wide || column.wide !== true)
      .map((column) => [column.title, column.value(object, NOW_MS)]),
  );
const object = (kind: string, part: Partial<KubeObject>): KubeObject => ({
  apiVersion: 'v1',
  kind,
  metadata: { name: 'a', namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z' },
  ...part,
});
const statuses = (ready: boolean, reason?: string) => ({
  phase: 'Running',
  containerStatuses: [
    { name: 'app', ready, restartCount: 2, state: reason === undefined ? {} : { waiting: { reason } } },
  ],
  initContainerStatuses: [{ name: 'heddle-proxy', ready: true, restartCount: 1, state: {} }],
});
const meshed = { initContainers: [{ name: 'heddle-proxy', restartPolicy: 'Always' }], nodeName: 'node-1' };

test('a pod counts its sidecar and shows why it waits', () => {
  const pod = object('Pod', { spec: meshed, status: { ...statuses(true), podIP: '127.244.0.1' } });
  assert.deepEqual(row(pod), { NAME: 'a', READY: '2/2', STATUS: 'Running', RESTARTS: '3', AGE: '60s' });
  assert.equal(row(pod, true).IP, '127.244.0.1');
  assert.equal(podStatus(object('Pod', { status: statuses(false, 'CrashLoopBackOff') })), 'CrashLoopBackOff');
  assert.equal(podStatus(object('Pod', { status: statuses(false, 'ContainerCreating') })), 'Running');
  assert.equal(podStatus(object('Pod', { status: { phase: 'Succeeded' } })), 'Completed');
  assert.equal(podStatus(object('Pod', { status: { phase: 'Failed' } })), 'Error');
  const going = object('Pod', { metadata: { name: 'a', deletionTimestamp: 'x' }, status: statuses(true) });
  assert.equal(podStatus(going), 'Terminating');
});

test('a Service shows its published address and a port that moved', () => {
  const spec = {
    type: 'LoadBalancer',
    clusterIP: '10.96.1.1',
    ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }],
  };
  const status = { loadBalancer: { ingress: [{ ip: '127.0.0.1', ports: [{ port: 10_080 }] }] } };
  const shown = row(object('Service', { spec, status }));
  assert.equal(shown['EXTERNAL-IP'], '127.0.0.1');
  assert.equal(shown['PORT(S)'], '80:10080/TCP,53/UDP');
  assert.equal(row(object('Service', { spec }))['EXTERNAL-IP'], '<pending>');
  assert.equal(row(object('Service', { spec: {} }))['EXTERNAL-IP'], '<none>');
});

test('a route is as accepted as its worst parent', () => {
  const parent = (status: string) => ({ conditions: [{ type: 'Accepted', status }] });
  const spec = { parentRefs: [{ name: 'catalog' }, { name: 'cart' }] };
  const route = object('HTTPRoute', { spec, status: { parents: [parent('True'), parent('False')] } });
  assert.equal(row(route).ACCEPTED, 'False');
  assert.equal(row(route).PARENTS, 'catalog,cart');
  assert.equal(row(object('HTTPRoute', { spec })).ACCEPTED, 'Unknown');
});

test('every kind has columns that stand any object', () => {
  for (const { kind } of KINDS)
    for (const column of columnsOf(kind))
      assert.equal(typeof column.value(object(kind, {}), NOW_MS), 'string', `${kind} ${column.title}`);
});

test('paths are short inside the folder one is in, and whole outside', () => {
  assert.equal(shownPath('/work/demo/a.yaml', '/work'), 'demo/a.yaml');
  assert.equal(shownPath('/other/a.yaml', '/work'), '/other/a.yaml');
  assert.equal(shownPath('standard input', '/work'), 'standard input');
});

test('a problem line names file, line, object and field, the field once', () => {
  const problem = {
    severity: 'error' as const,
    source: '/w/a.yaml',
    line: 4,
    object: 'HTTPRoute shop/r',
    field: 'spec.x',
  };
  assert.equal(
    problemLine({ ...problem, message: 'is wrong' }, '/w'),
    'a.yaml:4: HTTPRoute shop/r: spec.x: is wrong',
  );
  assert.equal(
    problemLine({ ...problem, message: 'spec.x is wrong' }, '/w'),
    'a.yaml:4: HTTPRoute shop/r: spec.x is wrong',
  );
});

test('without colours no escape is written', () => {
  assert.equal(palette(false).red('x'), 'x');
  assert.equal(palette(true).red('x'), '\u001b[31mx\u001b[0m');
});
