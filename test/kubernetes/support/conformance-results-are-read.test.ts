import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leakCheck } from '../../support/leak-check.ts';
import { resultsIn } from './conformance.ts';

leakCheck();

test('tests of the suite are told from their parts and from those that were skipped', () => {
  const printed = `=== RUN   TestConformance/MeshBasic
--- FAIL: TestConformance (10.88s)
    --- SKIP: TestConformance/MeshGRPCRouteWeight (0.00s)
    --- PASS: TestConformance/MeshBasic (0.51s)
        --- PASS: TestConformance/MeshBasic/0_request_to_'echo'_should_receive_one_of_[] (0.45s)
    --- FAIL: TestConformance/MeshPorts (60.10s)
        --- FAIL: TestConformance/MeshPorts/1_request (60.00s)
FAIL
`;
  assert.deepEqual(resultsIn(printed), { passed: ['MeshBasic'], failed: ['MeshPorts'] });
  assert.deepEqual(resultsIn('panic: no cluster\n'), { passed: [], failed: [] });
});
