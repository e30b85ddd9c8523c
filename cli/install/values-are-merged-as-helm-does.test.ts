import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { leakCheck } from '../../test/support/leak-check.ts';
import { defaultValues, findChart } from './chart.ts';
import { mergedValues, plannedValues } from './values.ts';

leakCheck();

const folder = mkdtempSync(join(tmpdir(), 'heddle-values-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return name;
};

test('maps are merged key by key, and everything else is replaced', () => {
  const defaults = { cni: { mode: 'tunnel', podRanges: ['a', 'b'] }, revision: 'default' };
  const files = [
    file('one.yaml', 'cni: {mode: direct, podRanges: [c]}'),
    file('two.yaml', 'revision: next'),
    file('empty.yaml', '# nothing'),
  ];
  assert.deepEqual(mergedValues(defaults, files, [], folder), {
    cni: { mode: 'direct', podRanges: ['c'] },
    revision: 'next',
  });
  assert.deepEqual(mergedValues(defaults, files, ['cni.mode=capture,revision=r2', 'other.new=1'], folder), {
    cni: { mode: 'capture', podRanges: ['c'] },
    ...{ revision: 'r2', other: { new: '1' } },
  });
});

test("what Helm's --set can do beyond plain paths is left to Helm", () => {
  for (const set of ['a[0].b=1', 'a={x,y}', 'a\\.b=c', '=x'])
    assert.deepEqual(
      Object.keys(mergedValues({}, [], [set], folder)).filter((key) => key !== 'a'),
      [],
    );
});

test('the checks read what the installation would be', () => {
  const planned = (...sets: string[]) =>
    plannedValues(mergedValues(defaultValues(findChart(undefined, folder)), [], sets, folder));
  assert.deepEqual(planned(), {
    ...{ cniEnabled: true, cniMode: 'tunnel', dnsEnabled: true, dnsCreatesService: true },
    ...{ dnsAddress: '10.96.0.10', apiServerHost: '' },
  });
  assert.equal(planned('cni.mode=capture').dnsEnabled, false);
  assert.equal(planned('cni.enabled=false').dnsEnabled, false);
  assert.equal(planned('dns.enabled=false').dnsEnabled, false);
  assert.equal(planned('apiServerHost=10.0.0.5').apiServerHost, '10.0.0.5');
});

test('values that are no map, and files that are not there, are told by their names', () => {
  assert.throws(
    () => mergedValues({}, [file('list.yaml', '[1]')], [], folder),
    /list\.yaml: values are a map/,
  );
  assert.throws(() => mergedValues({}, ['absent.yaml'], [], folder), /absent\.yaml: .*no such file/);
  assert.throws(() => mergedValues({}, [file('broken.yaml', 'a: [')], [], folder), /broken\.yaml/);
  assert.throws(() => findChart('nowhere', folder), /nowhere is no Helm chart/);
});
