import { readFileSync } from 'node:fs';
import { HeddleError } from '../../../common/errors.ts';
import type { KubernetesCluster } from './cluster.ts';

const SUITE_TIMEOUT_MS = 20 * 60_000;
const OUTPUT_TAIL_CHARS = 4_000;

/** What Heddle claims of the mesh profile: pkg/features/mesh.go and httproute.go of the Gateway API. */
const MESH_FEATURES: readonly string[] = [
  ...['Mesh', 'MeshClusterIPMatching', 'MeshConsumerRoute', 'MeshHTTPRouteRewritePath'],
  ...['MeshHTTPRouteSchemeRedirect', 'MeshHTTPRouteRedirectPort', 'MeshHTTPRouteRedirectPath'],
  ...['MeshHTTPRouteBackendRequestHeaderModification', 'MeshHTTPRouteQueryParamMatching'],
  ...['MeshHTTPRouteNamedRouteRule', 'HTTPRoute', 'HTTPRouteResponseHeaderModification'],
  ...['HTTPRouteParentRefPort', 'HTTPRoute303RedirectStatusCode', 'HTTPRoute307RedirectStatusCode'],
  'HTTPRoute308RedirectStatusCode',
];

export interface ConformanceRun {
  /** One test of the suite; all of the mesh profile where it isn't said. */
  readonly test?: string;
  /** A file for the suite's own report. */
  readonly report?: string;
}

export interface ConformanceResult {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  /** Everything that the suite printed. */
  readonly output: string;
}

/**
 * Runs the official suite's mesh tests in namespaces that are injected. The echo servers that it installs stay, so that the next run
 * is quick. Throws HeddleError `conformance` where not one test ran.
 */
export async function runConformance(
  cluster: KubernetesCluster,
  { test, report }: ConformanceRun = {},
): Promise<ConformanceResult> {
  const output = await cluster.runSuite(
    [
      ...['-test.v', `-test.timeout=${SUITE_TIMEOUT_MS}ms`, '-test.run=TestConformance'],
      ...[`-supported-features=${MESH_FEATURES.join(',')}`, '-conformance-profiles=MESH-HTTP'],
      ...['-namespace-labels=heddle.dev/inject=enabled', '-cleanup-base-resources=false'],
      ...[
        '-organization=heddle',
        '-project=heddle',
        '-url=https://heddle.dev',
        '-contact=heddle.dev/maintainers',
      ],
      ...['-mode=default', `-version=v${releasedAs()}`],
      ...(test === undefined ? [] : [`-run-test=${test}`]),
      ...(report === undefined ? [] : [`-report-output=${report}`]),
    ],
    { timeoutMs: SUITE_TIMEOUT_MS },
  );
  const results = resultsIn(output);
  if (results.passed.length + results.failed.length === 0)
    throw new HeddleError('conformance', `no test of the suite ran:\n${output.slice(-OUTPUT_TAIL_CHARS)}`);
  return { ...results, output };
}

function releasedAs(): string {
  const manifest: { readonly version: string } = JSON.parse(
    readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
  );
  return manifest.version;
}

/** The suite's tests by result, from what `go test -v` prints: four spaces stand before its own, eight before their parts. */
export function resultsIn(output: string): Omit<ConformanceResult, 'output'> {
  const named = (result: string) =>
    [...output.matchAll(new RegExp(`^ {4}--- ${result}: TestConformance/(\\S+) \\(`, 'gm'))].map(
      ([, name = '']) => name,
    );
  return { passed: named('PASS'), failed: named('FAIL') };
}
