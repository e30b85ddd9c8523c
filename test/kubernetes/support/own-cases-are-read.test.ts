import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { resultIn } from './own-cases.ts';

leakCheck();

const caseOf = (name: string, State: string, Message?: string) => ({
  ...{ ContainerHierarchyTexts: ['[sig-network] DNS'], LeafNodeText: name, LeafNodeType: 'It', State },
  ...(Message === undefined ? {} : { Failure: { Message } }),
});

test('cases that passed, failed, skipped themselves and were left out are told from each other', () => {
  const setUp = { ContainerHierarchyTexts: null, LeafNodeText: '', LeafNodeType: 'SynchronizedBeforeSuite' };
  const report = JSON.stringify([
    {
      SpecReports: [
        { ...setUp, State: 'passed' },
        caseOf('a', 'passed'),
        caseOf('b', 'failed', 'no answer'),
        caseOf('c', 'timedout', 'too late'),
        caseOf('d', 'skipped', 'needs three zones'),
        caseOf('e', 'skipped'),
        { ...caseOf('f', 'skipped'), ContainerHierarchyTexts: ['[sig-storage] Volumes'] },
      ],
    },
  ]);
  assert.deepEqual(resultIn(report, /sig-network/), {
    passed: ['[sig-network] DNS a'],
    failed: [
      { name: '[sig-network] DNS b', why: 'failed: no answer' },
      { name: '[sig-network] DNS c', why: 'timedout: too late' },
    ],
    skipped: [{ name: '[sig-network] DNS d', why: 'needs three zones' }],
    leftOut: ['[sig-network] DNS e'],
  });
  const broken = [{ ...setUp, State: 'failed', Failure: { Message: 'no nodes' } }];
  assert.deepEqual(resultIn(JSON.stringify([{ SpecReports: broken }]), /sig-network/).failed, [
    { name: 'the set-up', why: 'failed: no nodes' },
  ]);
  assert.deepEqual(resultIn(JSON.stringify([{ SpecReports: null }]), /x/).passed, []);
});
