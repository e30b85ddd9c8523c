import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HeddleError } from '../../../common/errors.ts';
import type { KubernetesCluster } from './cluster.ts';

const OUTPUT_TAIL_CHARS = 4_000;
const GRACE_MS = 60_000;

/** Cases that can't run on this cluster, by their names, and why not. */
export interface LeftOut {
  readonly cases: RegExp;
  readonly why: string;
}

export interface OwnCasesRun {
  /** Which of the cases are run: part of the names. */
  readonly focus: RegExp;
  /** How many are run at a time. */
  readonly atATime: number;
  readonly timeoutMs: number;
}

export interface FailedCase {
  readonly name: string;
  readonly why: string;
}

export interface OwnCasesResult {
  readonly passed: readonly string[];
  readonly failed: readonly FailedCase[];
  /** Those that found themselves unable to run, and said so. */
  readonly skipped: readonly FailedCase[];
  /** Those that the focus has, and that were left out. */
  readonly leftOut: readonly string[];
}

export interface OwnCasesOutcome extends OwnCasesResult {
  /** Everything that was printed: of cases that failed, every step. */
  readonly output: string;
}

/** What Ginkgo writes of a case: https://pkg.go.dev/github.com/onsi/ginkgo/v2/types#SpecReport */
interface SpecReport {
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeText: string;
  readonly LeafNodeType: string;
  readonly State: string;
  readonly Failure?: { readonly Message: string };
}

/**
 * Runs Kubernetes' own end-to-end cases of its network (test/e2e/network of its repository), all of the focus but those that are left
 * out, and reads Ginkgo's report of every case. Throws HeddleError `own-cases` where there is no report, or not one case of it ran.
 */
export async function runOwnCases(
  cluster: KubernetesCluster,
  run: OwnCasesRun,
  leftOut: readonly LeftOut[],
): Promise<OwnCasesOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-own-cases-'));
  try {
    const output = await cluster.runOwnCases(
      [
        ...[`--procs=${run.atATime}`, `--timeout=${run.timeoutMs}ms`, `--focus=${run.focus.source}`],
        ...leftOut.map(({ cases }) => `--skip=${cases.source}`),
        ...['--no-color', '--silence-skips', `--output-dir=${folder}`, '--json-report=report.json'],
      ],
      { timeoutMs: run.timeoutMs + GRACE_MS },
    );
    const result = resultIn(readReport(folder, output), run.focus);
    if (result.passed.length + result.failed.length === 0)
      throw new HeddleError('own-cases', `not one case ran:\n${output.slice(-OUTPUT_TAIL_CHARS)}`);
    return { ...result, output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readReport(folder: string, output: string): string {
  try {
    return readFileSync(join(folder, 'report.json'), 'utf8');
  } catch (cause) {
    throw new HeddleError('own-cases', `the cases left no report:\n${output.slice(-OUTPUT_TAIL_CHARS)}`, {
      cause,
    });
  }
}

/**
 * Reads Ginkgo's JSON report. A case that isn't selected is "skipped" as one is that skips itself, but says nothing; the set-up of the
 * whole is a case as well where it failed.
 */
export function resultIn(report: string, focus: RegExp): OwnCasesResult {
  const suites = JSON.parse(report) as readonly { readonly SpecReports: readonly SpecReport[] | null }[];
  const specs = suites
    .flatMap(({ SpecReports }) => SpecReports ?? [])
    .map((spec) => ({
      isCase: spec.LeafNodeType === 'It',
      name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' ').trim(),
      state: spec.State,
      why: spec.Failure?.Message ?? '',
    }));
  const cases = specs.filter(({ isCase }) => isCase);
  const skipped = cases.filter(({ state }) => state === 'skipped');
  const isGood = (state: string) => ['passed', 'skipped', 'pending'].includes(state);
  return {
    passed: cases.filter(({ state }) => state === 'passed').map(({ name }) => name),
    failed: specs
      .filter(({ state }) => !isGood(state))
      .map(({ name, state, why }) => ({ name: name === '' ? 'the set-up' : name, why: `${state}: ${why}` })),
    skipped: skipped.filter(({ why }) => why !== '').map(({ name, why }) => ({ name, why })),
    leftOut: cases
      .filter(
        ({ state, name, why }) => ['skipped', 'pending'].includes(state) && why === '' && focus.test(name),
      )
      .map(({ name }) => name),
  };
}
