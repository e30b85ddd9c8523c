import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { runConformance } from './support/conformance.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { startMeshedCluster } from './support/mesh.ts';

leakCheck();

const runs = 3;
/** Where the suite's own report of the last run goes, if anywhere. */
const REPORT = process.env.HEDDLE_CONFORMANCE_REPORT;
/** Every HTTP test of the mesh profile in the suite's version 1.6.3, core and extended. */
const TESTS: readonly string[] = [
  ...['MeshBasic', 'MeshConsumerRoute', 'MeshFrontend', 'MeshFrontendHostname'],
  ...['MeshHTTPRoute303Redirect', 'MeshHTTPRoute307Redirect', 'MeshHTTPRoute308Redirect'],
  ...['MeshHTTPRouteBackendRequestHeaderModifier', 'MeshHTTPRouteMatching', 'MeshHTTPRouteNamedRule'],
  ...['MeshHTTPRouteQueryParamMatching', 'MeshHTTPRouteRedirectHostAndStatus', 'MeshHTTPRouteRedirectPath'],
  ...['MeshHTTPRouteRedirectPort', 'MeshHTTPRouteRequestHeaderModifier', 'MeshHTTPRouteRewritePath'],
  ...['MeshHTTPRouteSchemeRedirect', 'MeshHTTPRouteSimpleSameNamespace', 'MeshHTTPRouteWeight'],
  ...['MeshPorts', 'MeshTrafficSplit'],
];

let cluster: KubernetesCluster;
before(async () => {
  cluster = await startMeshedCluster(2);
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

for (let run = 1; run <= runs; run++)
  test(`every HTTP test of the mesh profile passes, run ${run} of ${runs}`, async () => {
    const isLast = run === runs && REPORT !== undefined;
    const { passed, failed, output } = await runConformance(
      cluster,
      isLast ? { report: resolve(REPORT) } : {},
    );
    assert.deepEqual(failed, [], output);
    assert.deepEqual(passed.toSorted(), TESTS);
  });
