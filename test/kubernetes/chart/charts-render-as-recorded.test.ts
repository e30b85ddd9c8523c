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
];
for (const [what, more, message] of REFUSED) {
  test(`${what} is refused with a reason`, () => {
    assert.throws(() => render(...more), { message });
  });
}
