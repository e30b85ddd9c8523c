import os from 'node:os';
import type { BenchCase } from './cases.ts';
import type { PeerName } from './peers/peer.ts';
import type { Measurement } from './rounds.ts';
import type { Seats } from './seats.ts';

interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

interface PeerReport {
  readonly us: Spread;
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p99Ms: number;
  readonly errors: number;
  readonly privateMb: number;
}

/** The result of a case as `--json` prints it. Times are CPU microseconds per request, medians over the rounds. */
export interface CaseReport {
  readonly case: string;
  readonly summary: string;
  readonly requests: number;
  readonly errors: number;
  readonly heddleUs: number | undefined;
  readonly envoyUs: number | undefined;
  readonly nginxUs: number | undefined;
  readonly haproxyUs: number | undefined;
  readonly httpProxyUs: number | undefined;
  readonly ratioToEnvoy: number | undefined;
  readonly ratioToHaproxy: number | undefined;
  readonly budget: number;
  readonly withinBudget: boolean;
  readonly peers: Readonly<Partial<Record<PeerName, PeerReport>>>;
  readonly rounds: readonly Measurement[];
  readonly missing: readonly { readonly peer: PeerName; readonly why: string }[];
  readonly versions: Readonly<Partial<Record<PeerName, string>>>;
  readonly machine: Machine;
}

export interface Machine {
  readonly cpus: number;
  readonly model: string;
  readonly kernel: string;
  readonly node: string;
  readonly seats: Seats;
}

export function machine(seats: Seats): Machine {
  return {
    cpus: os.availableParallelism(),
    model: os.cpus()[0]?.model ?? 'unknown',
    kernel: os.release(),
    node: process.versions.node,
    seats,
  };
}

export interface CaseOutcome {
  readonly measured: readonly Measurement[];
  readonly missing: CaseReport['missing'];
  readonly versions: CaseReport['versions'];
  readonly seats: Seats;
}

export function report(one: BenchCase, outcome: CaseOutcome): CaseReport {
  const { measured, missing, versions } = outcome;
  const peers: Partial<Record<PeerName, PeerReport>> = {};
  for (const [name, list] of Map.groupBy(measured, ({ peer }) => peer)) peers[name] = summary(list);
  const us = (name: PeerName) => peers[name]?.us.median;
  const heddleUs = us('heddle');
  const ratioTo = (name: PeerName) => ratio(heddleUs, us(name));
  const ratioToEnvoy = ratioTo('envoy');
  return {
    case: one.name,
    summary: one.summary,
    requests: sum(measured, ({ requests }) => requests),
    errors: sum(measured, ({ errors }) => errors),
    heddleUs,
    envoyUs: us('envoy'),
    nginxUs: us('nginx'),
    haproxyUs: us('haproxy'),
    httpProxyUs: us('http-proxy'),
    ratioToEnvoy,
    ratioToHaproxy: ratioTo('haproxy'),
    budget: one.budget,
    withinBudget: ratioToEnvoy !== undefined && ratioToEnvoy <= one.budget,
    peers,
    rounds: measured,
    missing,
    versions,
    machine: machine(outcome.seats),
  };
}

/** Whether the case is what DESIGN promises: everybody measured, nothing failed, within budget. */
export function passed(result: CaseReport): boolean {
  return result.withinBudget && result.errors === 0 && result.missing.length === 0;
}

export function table(result: CaseReport): string {
  const rows = Object.entries(result.peers).map(([name, peer]) => [
    name,
    peer.us.median.toFixed(1),
    `${peer.us.min.toFixed(1)} to ${peer.us.max.toFixed(1)}`,
    String(Math.round(peer.requestsPerSecond)),
    peer.p99Ms.toFixed(2),
    peer.privateMb.toFixed(0),
    String(peer.errors),
    result.versions[name as PeerName] ?? '',
  ]);
  const head = ['', 'µs/request', 'spread', 'requests/s', 'p99 ms', 'private MB', 'errors', 'version'];
  const text = aligned([head, ...rows], head.length - 1);
  return `${result.case}: ${result.summary}\n${text.join('\n')}\n${verdict(result)}\n`;
}

/** Lines of columns: the first to the left, and the one of that number if there is one, all others to the right. */
export function aligned(lines: readonly (readonly string[])[], left = 0): readonly string[] {
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) =>
    line
      .map((cell, column) => {
        const width = widths?.[column] ?? 0;
        return column === 0 || column === left ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
}

function verdict(result: CaseReport): string {
  const { ratioToEnvoy, ratioToHaproxy, budget, seats } = { ...result, seats: result.machine.seats };
  const place =
    seats.proxy === undefined
      ? 'one processor for everything: take the figures with care'
      : `load on processor ${seats.load}, upstream on ${seats.upstream}, proxies on ${seats.proxy}, one at a time`;
  const absent = result.missing.map(({ peer, why }) => `\nMISSING ${peer}: ${why}`).join('');
  const failed = result.errors === 0 ? '' : `\nFAILED: ${result.errors} requests had no good answer`;
  const envoy = ratioToEnvoy === undefined ? 'not measured against' : `${ratioToEnvoy.toFixed(2)} ×`;
  const haproxy = ratioToHaproxy === undefined ? '' : ` and ${ratioToHaproxy.toFixed(2)} × HAProxy`;
  const within = result.withinBudget ? 'within' : 'OVER';
  return `Heddle is ${envoy} Envoy${haproxy}: ${within} the budget of ${budget} × Envoy.\n${place}${absent}${failed}`;
}

function summary(list: readonly Measurement[]): PeerReport {
  return {
    us: spread(list.map(({ us }) => us)),
    requests: sum(list, ({ requests }) => requests),
    requestsPerSecond: spread(list.map(({ requestsPerSecond }) => requestsPerSecond)).median,
    p99Ms: spread(list.map(({ p99Ms }) => p99Ms)).median,
    errors: sum(list, ({ errors }) => errors),
    privateMb: spread(list.map(({ privateMb }) => privateMb)).median,
  };
}

/** Of an even number of values, the lower of the two in the middle. */
function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const median = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
  return { median: round(median), min: round(sorted[0] ?? 0), max: round(sorted.at(-1) ?? 0) };
}

function ratio(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : round(a / b);
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

function sum(list: readonly Measurement[], of: (one: Measurement) => number): number {
  return list.reduce((total, one) => total + of(one), 0);
}
