import { aligned } from '../report.ts';
import type { PodReport } from './report.ts';

type Figures = NonNullable<PodReport['ways'][string]['keep-alive']>;

/** The report of a case for people. */
export function podTable(report: PodReport): string {
  const { ways, comparisons, errors, seat, load1 } = report;
  const rows = Object.entries(ways).map(([name, figures]) => [
    name,
    ...requests(figures['keep-alive']),
    ...requests(figures['new connections']),
    ...(figures.bulk === undefined ? ['', ''] : [figures.bulk.gbitsPerSecond.toFixed(1), cpu(figures.bulk)]),
    ...(figures.paced === undefined ? ['', ''] : [String(figures.paced.p50Us), String(figures.paced.p99Us)]),
  ]);
  const head = [
    '',
    'requests/s',
    'µs CPU',
    'connections/s',
    'µs CPU',
    'Gbit/s',
    'µs CPU/MB',
    'p50 µs',
    'p99 µs',
  ];
  const failed = errors === 0 ? [] : [`FAILED: ${errors} requests had no good answer`];
  return [
    `${report.case}: ${report.summary}`,
    ...aligned([head, ...rows]),
    ...comparisons.map(comparison),
    `everything on processor ${seat}; CPU time of client and servers with their packets; load of the machine ${load1.toFixed(1)}`,
    ...failed,
    '',
  ].join('\n');
}

function requests(figures: Figures | undefined): readonly [string, string] {
  return figures === undefined ? ['', ''] : [String(Math.round(figures.requestsPerSecond)), cpu(figures)];
}

function cpu({ cpuUs, cpuUsMin, cpuUsMax }: Figures): string {
  return `${cpuUs.toFixed(1)} (${cpuUsMin.toFixed(1)} to ${cpuUsMax.toFixed(1)})`;
}

function comparison(one: PodReport['comparisons'][number]): string {
  const { way, against, ratios, rateRatio, atLeast, withinBudget } = one;
  const each = Object.entries(ratios).map(([measure, ratio]) => `${ratio.toFixed(2)} × ${measure}`);
  const rate = rateRatio === undefined ? '' : ` (requests/s as they came: ${rateRatio.toFixed(2)} ×)`;
  const verdict =
    atLeast === undefined
      ? ''
      : `: ${withinBudget === true ? 'within' : 'MISSES'} the budget of ${atLeast} × keep-alive`;
  return `${way} carries by the same CPU time, against ${against}: ${each.join(', ')}${rate}${verdict}`;
}
