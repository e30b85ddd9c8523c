import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { leakCheck } from '../support/leak-check.ts';
import { KubernetesCluster } from './support/cluster.ts';
import { assertNothingLeft } from './support/machine-state.ts';
import { startMeshedCluster } from './support/mesh.ts';
import { runOwnCases } from './support/own-cases.ts';
import { LEFT_OUT } from './support/own-cases-left-out.ts';

leakCheck();

/** Cases mostly wait; with more of them at a time, two cores are what they wait for. */
const atATime = 4;

/** Either those that a conformant cluster must pass, or all of Kubernetes 1.34 that can run here. */
const RUN =
  process.env.HEDDLE_ALL_OWN_CASES === '1'
    ? {
        ...{ what: 'all of the network', focus: /\[sig-network\]/, cases: 191, leftOut: 51 },
        timeoutMs: 90 * 60_000,
      }
    : {
        ...{ what: 'conformance of the network', focus: /\[sig-network\].*\[Conformance\]/ },
        ...{ cases: 45, leftOut: 0, timeoutMs: 18 * 60_000 },
      };

let cluster: KubernetesCluster;
before(async () => {
  cluster = await startMeshedCluster(2, [], KubernetesCluster.ownCasesImages);
});
after(async () => {
  await cluster?.stop();
  await assertNothingLeft(`t${process.pid}-`);
});
KubernetesCluster.logsAfterFailures(() => cluster);

test(`Kubernetes' own cases pass: ${RUN.what}`, { timeout: RUN.timeoutMs * 1.1 }, async (context) => {
  const { focus, timeoutMs } = RUN;
  const result = await runOwnCases(cluster, { focus, atATime, timeoutMs }, LEFT_OUT);
  context.diagnostic(`${result.passed.length} passed, ${result.leftOut.length} can't run here`);
  assert.deepEqual(result.failed, [], result.output);
  assert.deepEqual(result.skipped, [], 'what skips itself has no reason among those that are left out');
  assert.equal(result.passed.length, RUN.cases);
  assert.equal(result.leftOut.length, RUN.leftOut);
});
