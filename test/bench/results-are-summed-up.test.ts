import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CASES } from './cases.ts';
import { cpuMicros } from './counters.ts';
import { ALL_CASES, readOptions } from './options.ts';
import type { PeerName } from './peers/peer.ts';
import { passed, report, table } from './report.ts';
import type { Measurement } from './rounds.ts';

const [one] = CASES;
if (one === undefined) throw new Error('there is no case');
const seats = { load: 0, upstream: 0, proxy: 1 };

function measured(peer: PeerName, us: number, round: number, errors = 0): Measurement {
  return {
    ...{ peer, us, round, errors, requests: 1_000 },
    ...{ requestsPerSecond: 100, p50Ms: 1, p99Ms: 2, privateMb: 30 },
  };
}

function results(heddleUs: readonly number[], envoyUs: readonly number[]): Measurement[] {
  return [
    ...heddleUs.map((us, index) => measured('heddle', us, index + 1)),
    ...envoyUs.map((us, index) => measured('envoy', us, index + 1)),
  ];
}

test('figures are medians over the rounds, and ratios are those of the medians', () => {
  const all = results([30, 90, 31], [50, 52, 10]);
  const result = report(one, { measured: all, missing: [], versions: {}, seats });
  assert.deepEqual([result.heddleUs, result.envoyUs, result.ratioToEnvoy], [31, 50, 0.62]);
  assert.deepEqual(result.peers.heddle?.us, { median: 31, min: 30, max: 90 });
  assert.equal(result.requests, 6_000);
  assert.equal(result.withinBudget, true);
  assert.equal(passed(result), true);
});

test('a case over its budget has not passed', () => {
  const result = report(one, { measured: results([50], [50]), missing: [], versions: {}, seats });
  assert.equal(result.withinBudget, false);
  assert.equal(passed(result), false);
  assert.match(table(result), /1\.00 × Envoy: OVER the budget of 0\.75 × Envoy/);
});

test('a failed request fails the case, and so does a peer that is not there: both are named', () => {
  const failed = [...results([30], [50]), measured('nginx', 15, 1, 3)];
  const withErrors = report(one, { measured: failed, missing: [], versions: {}, seats });
  assert.equal(passed(withErrors), false);
  assert.match(table(withErrors), /FAILED: 3 requests/);
  const missing = [{ peer: 'haproxy' as const, why: 'install haproxy' }];
  const without = report(one, { measured: results([30], [50]), missing, versions: {}, seats });
  assert.equal(passed(without), false);
  assert.match(table(without), /MISSING haproxy: install haproxy/);
});

test('without Envoy there is no budget to be within', () => {
  const result = report(one, { measured: [measured('heddle', 30, 1)], missing: [], versions: {}, seats });
  assert.equal(result.ratioToEnvoy, undefined);
  assert.equal(passed(result), false);
});

test('flags are checked', () => {
  assert.deepEqual(readOptions(['--case', one.name, '--rounds', '2', '--json']).cases, [one]);
  assert.equal(readOptions([]).cases, ALL_CASES);
  for (const wrong of [
    ['--case', 'none'],
    ['--rounds', '0'],
    ['--rounds', '101'],
    ['--seconds', 'x'],
    ['x'],
  ]) {
    assert.throws(() => readOptions(wrong), { code: 'usage' }, wrong.join(' '));
  }
});

test('processor time is counted over all of a process', { skip: process.platform !== 'linux' }, () => {
  const before = cpuMicros([process.pid]);
  const endMs = performance.now() + 60;
  while (performance.now() < endMs);
  const spent = cpuMicros([process.pid]) - before;
  assert.ok(spent > 0 && spent < 10_000_000, `${spent} µs`);
});
