import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compilePolicy } from '../../../cni/policy/compile.ts';
import type { PolicyPlan } from '../../../cni/policy/plan.ts';
import { verdict } from '../../../cni/policy/verdict.ts';
import type { KubeObject, SourcedObject } from '../../../model/objects.ts';
import { type CaseProbe, probesOf, type TruthCase } from '../../support/policy/case.ts';
import { CASE_PODS, namespaceObjects, PAPER_CLUSTER, podObjects } from '../../support/policy/cluster.ts';
import { askOracle, type OracleVerdict } from '../../support/policy/oracle.ts';
import { randomCases } from '../../support/policy/random-policies.ts';

const sourced = (object: KubeObject): SourcedObject => ({ object, origin: { source: 'test', line: 1 } });
const NAMESPACES = namespaceObjects();
const PODS = podObjects(PAPER_CLUSTER);
const PLACES = [...[...PAPER_CLUSTER.addresses.values()].flat(), ...PAPER_CLUSTER.world];

function planOf(policies: readonly KubeObject[]): PolicyPlan {
  return compilePolicy({
    ...{ namespaces: NAMESPACES.map(sourced), pods: PODS.map(sourced), policies: policies.map(sourced) },
    node: {
      name: 'n1',
      localPods: CASE_PODS.map(({ namespace, name }) => ({
        ...{ namespace, name, uid: '', ips: PAPER_CLUSTER.addresses.get(`${namespace}/${name}`) ?? [] },
      })),
    },
  });
}

interface Difference extends CaseProbe {
  readonly case: string;
  readonly heddle: OracleVerdict;
  readonly oracle: OracleVerdict;
}

function compare(one: TruthCase, plan: PolicyPlan, answers: readonly OracleVerdict[]): Difference[] {
  const probes = [...probesOf(PLACES, PLACES, one.ports)];
  assert.equal(answers.length, probes.length);
  return probes.flatMap((probe, index) => {
    const oracle = answers[index] ?? { egress: false, ingress: false };
    const found = verdict(plan, probe);
    const heddle = {
      egress: found.egress?.allowed !== false,
      ingress: found.ingress?.allowed !== false,
    };
    const same = heddle.egress === oracle.egress && heddle.ingress === oracle.ingress;
    return same ? [] : [{ case: one.name, ...probe, heddle, oracle }];
  });
}

const cases = randomCases(400, 20_261_125);
let answers: readonly (readonly OracleVerdict[])[] = [];

test('400 sets of policies mean the same to Heddle and to another project’s matcher', () => {
  answers = askOracle(
    cases.map(({ policies, ports }) => ({
      ...{ namespaces: NAMESPACES, pods: PODS, policies, ports, senders: PLACES, receivers: PLACES },
    })),
  );
  const differences = cases.flatMap((one, index) => {
    const plan = planOf(one.policies);
    assert.deepEqual(plan.problems, [], one.name);
    return compare(one, plan, answers[index] ?? []);
  });
  assert.deepEqual(differences.slice(0, 5), [], `${differences.length} differences`);
});

test('the questions tell both ways: what is allowed and what is denied', () => {
  const all = answers.flat();
  const denied = all.filter((one) => !one.egress || !one.ingress).length;
  assert.ok(denied > all.length / 20 && denied < (all.length * 19) / 20, `${denied} of ${all.length}`);
});

test('an entry too few, or one too many, shows', () => {
  const planted = cases.slice(0, 60).map((one, index) => {
    const plan = planOf(one.policies);
    const set = [...plan.sets.values()].find(({ entries }) => entries.length > 0);
    if (set === undefined) return 0;
    const without = { ...set, entries: [] };
    const broken = { ...plan, sets: new Map(plan.sets).set(set.number, without) };
    return compare(one, broken, answers[index] ?? []).length;
  });
  assert.ok(planted.filter((count) => count > 0).length > 20);
});
