import type { LoadResult } from '../load.ts';
import { WayCpu } from './cpu.ts';
import { MEASURES, type Measure, type MeasureName } from './measures.ts';
import type { Programs } from './programs.ts';
import type { Way } from './way.ts';

/** One measurement of one way. */
export interface PodMeasurement {
  readonly round: number;
  readonly way: string;
  readonly measure: MeasureName;
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly gbitsPerSecond: number;
  /** CPU time of everything that works for it, in microseconds: for a request; of `bulk` for a megabyte (10⁶ bytes). */
  readonly cpuUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Requests that failed: any makes the case fail. */
  readonly errors: number;
}

export interface PodRoundPlan {
  readonly ways: readonly Way[];
  readonly measures: readonly MeasureName[];
  readonly programs: Programs;
  readonly seat: number;
  readonly rounds: number;
  readonly seconds: number;
  say(line: string): void;
}

const warmUpSeconds = 1;

/** Measures every way once a round, beginning with another one each time, one measure after the other. */
export async function runPodRounds(plan: PodRoundPlan): Promise<readonly PodMeasurement[]> {
  const { ways, programs } = plan;
  const measures = MEASURES.filter(({ name }) => plan.measures.includes(name));
  for (const way of ways) {
    await programs.check(way);
    for (const measure of measures) await programs.load(way, measure, warmUpSeconds);
  }
  const cpu = new WayCpu(plan.seat);
  const measured: PodMeasurement[] = [];
  for (let round = 1; round <= plan.rounds; round++)
    for (const measure of measures)
      for (const way of rotated(ways, round)) {
        const before = cpu.micros(way.cgroups);
        const load = await programs.load(way, measure, plan.seconds);
        const one = measurement(way, measure, load, cpu.micros(way.cgroups) - before, round);
        plan.say(`round ${round} ${measure.name}, ${way.name}: ${said(one)}`);
        measured.push(one);
      }
  return measured;
}

function measurement(
  way: Way,
  { name }: Measure,
  load: LoadResult,
  cpuUs: number,
  round: number,
): PodMeasurement {
  const seconds = load.durationUs / 1_000_000;
  const work = name === 'bulk' ? load.bytes / 1_000_000 : load.requests;
  return {
    ...{ round, way: way.name, measure: name, requests: load.requests, errors: load.failed },
    requestsPerSecond: load.requests / seconds,
    gbitsPerSecond: (load.bytes * 8) / seconds / 1e9,
    cpuUs: cpuUs / Math.max(1, work),
    ...{ p50Us: load.p50Us, p99Us: load.p99Us },
  };
}

function said({ measure, cpuUs, gbitsPerSecond, requestsPerSecond, p50Us, p99Us }: PodMeasurement): string {
  const rate =
    measure === 'bulk'
      ? `${gbitsPerSecond.toFixed(2)} Gbit/s`
      : `${Math.round(requestsPerSecond)} requests/s, p50 ${p50Us} µs, p99 ${p99Us} µs`;
  return `${cpuUs.toFixed(1)} µs CPU, ${rate}`;
}

function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
