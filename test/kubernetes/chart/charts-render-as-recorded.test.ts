import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { CHART, helm, render } from './helm.ts';
import { VARIANTS } from './variants.ts';

leakCheck();

/** `UPDATE_GOLDENS=1` records what is rendered now; the difference is then read in review. */
const updates = process.env.UPDATE_GOLDENS === '1';
const GOLDEN = new URL('golden/', import.meta.url);

test('the chart has nothing that helm finds fault with', () => {
  for (const more of Object.values(VARIANTS))
    helm('lint', CHART, '--strict', '--quiet', '--namespace', 'heddle-system', ...more);
});

for (const [name, more] of Object.entries(VARIANTS)) {
  test(`the chart renders as recorded: ${name}`, () => {
    const file = new URL(`${name}.yaml`, GOLDEN);
    const rendered = render(...more);
    if (updates) {
      mkdirSync(GOLDEN, { recursive: true });
      writeFileSync(file, rendered);
    } else assert.equal(rendered, readFileSync(file, 'utf8'));
  });
}

const REFUSED: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['another namespace', ['--namespace', 'mesh'], /into the namespace heddle-system, not mesh/],
  ['a slip in a name', ['--set', 'controlPlane.replica=2'], /additional properties 'replica' not allowed/],
  ['an unknown mode', ['--set', 'cni.mode=vxlan'], /cni\/mode.*'tunnel', 'direct', 'capture'/s],
  [
    'a chain behind nothing',
    ['--set', 'cni.chained=10-calico.conflist'],
    /cni\.chained is for cni\.mode capture/,
  ],
  ['an mTLS mode in small letters', ['--set', 'meshSettings.mtls.mode=strict'], /meshSettings\/mtls\/mode/],
  ['a revision with a dot', ['--set', 'revision=1.2'], /revision/],
  // Helm would write 2.0240101e+07, and 1.1 for 1.10.
  ['a number as tag', ['--set-json', 'image.tag=20240101'], /image\/tag.*got number, want string/],
  ['a registry with a scheme', ['--set', 'image.registry=https://registry.example'], /image\/registry/],
  ['an API server with its port', ['--set', 'apiServerHost=10.0.0.5:6443'], /apiServerHost/],
  ['an address of DNS that is none', ['--set', 'dns.clusterIP=dns'], /dns\/clusterIP/],
  ['a nameserver by name', ['--set', 'dns.upstreams={dns.example}'], /dns\/upstreams\/0/],
  ['a size without number', ['--set', 'controlPlane.traceStoreSizeLimit=lots'], /traceStoreSizeLimit/],
  [
    'a label by which pods are selected',
    ['--set', 'injector.podLabels.app\\.kubernetes\\.io/name=mine'],
    /injector\.podLabels can't have app\.kubernetes\.io\/name: it is the chart's own/,
  ],
  ['a part that is taken away', ['--set', 'meshSettings=null'], /missing property 'meshSettings'/],
];
for (const [what, more, message] of REFUSED) {
  test(`${what} is refused with a reason`, () => {
    assert.throws(() => render(...more), { message });
  });
}

test('annotations of a user win over those of the chart, and stand there once', () => {
  const rendered = render('--set-string', 'controlPlane.podAnnotations.prometheus\\.io/scrape=false');
  assert.equal(rendered.match(/prometheus\.io\/scrape: "false"/g)?.length, 1);
  assert.doesNotMatch(rendered, /prometheus\.io\/scrape: "true"/);
  assert.match(rendered, /prometheus\.io\/port: "15014"/);
});

test('addresses may be of IPv6, and names of pull secrets numbers', () => {
  const rendered = render(
    '--set',
    'apiServerHost=fd00::1,dns.clusterIP=fd00::a,dns.upstreams={[2001:db8::1]:53}',
    '--set-string',
    'image.registry=[::1]:5000/heddle,image.pullSecrets={123}',
  );
  for (const one of [
    'value: fd00::1',
    'clusterIP: "fd00::a"',
    '"--upstream=[2001:db8::1]:53"',
    '- name: "123"',
  ])
    assert.ok(rendered.includes(one), one);
  assert.ok(rendered.includes('image: "[::1]:5000/heddle/heddle-cni:0.1.0"'));
});
