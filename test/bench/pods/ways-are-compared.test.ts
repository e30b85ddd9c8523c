import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kubeProxyRules, policyRules } from './iptables-rules.ts';
import type { MeasureName } from './measures.ts';
import { podReport, podsPassed } from './report.ts';
import type { PodMeasurement } from './rounds.ts';
import { podTable } from './table.ts';

const one: Parameters<typeof podReport>[0] = {
  ...{ name: 'pod-test', summary: 'a test' },
  measures: ['keep-alive', 'bulk'],
  comparisons: [
    { way: 'ours', against: 'theirs', atLeast: 1.1 },
    { way: 'ours', against: 'others' },
  ],
};
const names = ['ours', 'theirs', 'others'];

function measured(
  way: string,
  round: number,
  cpuUs: number,
  more: Partial<PodMeasurement> = {},
): PodMeasurement {
  const measure: MeasureName = 'keep-alive';
  return {
    ...{ way, round, cpuUs, measure, requests: 1_000, requestsPerSecond: 1_000_000 / cpuUs },
    ...{ gbitsPerSecond: 1, p50Us: 50, p99Us: 100, errors: 0, ...more },
  };
}

test('ways are compared round by round, so that a slow round is no loss of one of them', () => {
  const rounds = [
    ...[measured('ours', 1, 10), measured('theirs', 1, 12)],
    ...[measured('ours', 2, 30), measured('theirs', 2, 36)],
    ...[measured('ours', 3, 10), measured('theirs', 3, 5)],
  ];
  const result = podReport(one, names, rounds, 1);
  assert.equal(result.comparisons[0]?.ratios['keep-alive'], 1.2);
  assert.equal(result.ways.ours?.['keep-alive']?.cpuUs, 10);
  assert.equal(podsPassed(result), true);
});

test('who carries less than the budget by the same CPU time has not passed, whatever else is faster', () => {
  const bulk = { measure: 'bulk', gbitsPerSecond: 9 } as const;
  const rounds = [
    ...[measured('ours', 1, 10), measured('theirs', 1, 10.9)],
    ...[measured('ours', 1, 1, bulk), measured('theirs', 1, 9, bulk)],
  ];
  const result = podReport(one, names, rounds, 1);
  assert.equal(result.comparisons[0]?.withinBudget, false);
  assert.equal(result.comparisons[1]?.withinBudget, undefined);
  assert.equal(podsPassed(result), false);
  assert.match(podTable(result), /1\.09 × keep-alive, 9\.00 × bulk.*MISSES the budget of 1\.1 × keep-alive/);
});

test('a peer that was not measured leaves the budget unmet', () => {
  const result = podReport(one, names, [measured('ours', 1, 10)], 1);
  assert.equal(podsPassed(result), false);
});

test('a failed request fails the case', () => {
  const rounds = [measured('ours', 1, 10, { errors: 1 }), measured('theirs', 1, 20)];
  const result = podReport(one, names, rounds, 1);
  assert.equal(result.withinBudget, true);
  assert.equal(podsPassed(result), false);
  assert.match(podTable(result), /FAILED: 1 requests/);
});

test('kube-proxy shares out a Service evenly: the first of three gets a third, the second half of the rest', () => {
  const endpoints = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((ip) => ({ ip, port: 8080 }));
  const text = kubeProxyRules([{ clusterIp: '10.96.0.1', port: 80, endpoints }], '10.0.0.0/8');
  const shares = [...text.matchAll(/--probability ([\d.]+)/g)].map(([, share]) => Number(share));
  assert.deepEqual(shares, [0.3333333333, 0.5]);
  assert.equal(text.match(/-j DNAT/g)?.length, 3);
});

test('a pod that policies isolate has a chain for each, and drops what none allowed', () => {
  const rules = [
    { cidr: '10.0.0.1/32', port: 80 },
    { cidr: '10.0.0.2/32', port: 81 },
  ];
  const lines = policyRules('10.0.0.9', rules).split('\n');
  const jumps = lines.filter((line) => /-A KUBE-POD-FW-0 .*-j KUBE-NWPLCY-\d$/.test(line));
  const drop = lines.findIndex((line) => /-A KUBE-POD-FW-0 .*! --mark .*-j DROP$/.test(line));
  assert.equal(jumps.length, 2);
  assert.ok(drop > lines.indexOf(jumps[1] ?? ''), 'the drop comes last');
});
