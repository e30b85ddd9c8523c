import os from 'node:os';
import { machine } from '../report.ts';
import type { Comparison, PodCase } from './cases.ts';
import type { MeasureName } from './measures.ts';
import type { PodMeasurement } from './rounds.ts';

/** Medians over the rounds. */
interface Figures {
  readonly requestsPerSecond: number;
  readonly gbitsPerSecond: number;
  readonly cpuUs: number;
  readonly cpuUsMin: number;
  readonly cpuUsMax: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

interface Compared extends Comparison {
  /** How many times the work of the other way the same CPU time does: the median over rounds, in which both were measured. */
  readonly ratios: Readonly<Partial<Record<MeasureName, number>>>;
  /** The same of requests per second, which other programs on the machine share in. */
  readonly rateRatio: number | undefined;
  /** Undefined without a budget. */
  readonly withinBudget: boolean | undefined;
}

/** The result of a case as `--json` prints it. */
export interface PodReport {
  readonly case: string;
  readonly summary: string;
  readonly ways: Readonly<Record<string, Readonly<Partial<Record<MeasureName, Figures>>>>>;
  readonly comparisons: readonly Compared[];
  readonly errors: number;
  readonly withinBudget: boolean;
  readonly rounds: readonly PodMeasurement[];
  readonly seat: number;
  /** Processes that wanted to run, on average over the minute before the end: more than 2 means that others were at work. */
  readonly load1: number;
  readonly machine: ReturnType<typeof machine>;
}

/** `names` are those of the ways, in the order that people read them in. */
export function podReport(
  one: Pick<PodCase, 'name' | 'summary' | 'measures' | 'comparisons'>,
  names: readonly string[],
  rounds: readonly PodMeasurement[],
  seat: number,
): PodReport {
  const ways: Record<string, Partial<Record<MeasureName, Figures>>> = {};
  for (const name of names) {
    const own = rounds.filter(({ way }) => way === name);
    const figures: Partial<Record<MeasureName, Figures>> = {};
    for (const [measure, list] of Map.groupBy(own, (each) => each.measure))
      figures[measure] = figuresOf(list);
    ways[name] = figures;
  }
  const comparisons = one.comparisons.map((comparison) => compared(comparison, one.measures, rounds));
  return {
    ...{ case: one.name, summary: one.summary, ways, comparisons, rounds, seat },
    errors: rounds.reduce((sum, { errors }) => sum + errors, 0),
    withinBudget: comparisons.every(({ withinBudget }) => withinBudget !== false),
    load1: os.loadavg()[0] ?? 0,
    machine: machine({ load: seat, upstream: seat, proxy: seat }),
  };
}

export function podsPassed({ withinBudget, errors }: PodReport): boolean {
  return withinBudget && errors === 0;
}

function figuresOf(list: readonly PodMeasurement[]): Figures {
  const of = (value: (one: PodMeasurement) => number) => median(list.map(value));
  const cpu = list.map(({ cpuUs }) => cpuUs);
  return {
    requestsPerSecond: of(({ requestsPerSecond }) => requestsPerSecond),
    gbitsPerSecond: of(({ gbitsPerSecond }) => gbitsPerSecond),
    ...{ cpuUs: median(cpu), cpuUsMin: Math.min(...cpu), cpuUsMax: Math.max(...cpu) },
    ...{ p50Us: of(({ p50Us }) => p50Us), p99Us: of(({ p99Us }) => p99Us) },
  };
}

function compared(
  comparison: Comparison,
  measures: readonly MeasureName[],
  rounds: readonly PodMeasurement[],
): Compared {
  const ratioOf = (measure: MeasureName, value: (one: PodMeasurement) => number) => {
    const own = rounds.filter((one) => one.measure === measure && one.way === comparison.way);
    return median(
      own.flatMap((one) => {
        const other = rounds.find(
          ({ measure: same, way, round }) =>
            same === measure && way === comparison.against && round === one.round,
        );
        return other === undefined ? [] : [value(one) / value(other)];
      }),
    );
  };
  const ratios = Object.fromEntries(
    measures.map((measure) => [measure, ratioOf(measure, ({ cpuUs }) => 1 / cpuUs)]),
  );
  const judged = ratios['keep-alive'];
  const { atLeast } = comparison;
  return {
    ...{ ...comparison, ratios },
    rateRatio: ratioOf('keep-alive', ({ requestsPerSecond }) => requestsPerSecond),
    withinBudget: atLeast === undefined ? undefined : judged !== undefined && judged >= atLeast,
  };
}

/** Of an even number of values, the lower of the two in the middle. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
