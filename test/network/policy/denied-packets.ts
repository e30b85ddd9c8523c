import assert from 'node:assert/strict';
import type { DropEnd, DropRecord } from '../../../common/pod-network.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { objectsOf, recordOf, stringMap } from '../../../model/read/meta.ts';
import type { TruthCase } from '../../support/policy/case.ts';
import { CASE_PODS } from '../../support/policy/cluster.ts';
import type { OracleVerdict } from '../../support/policy/oracle.ts';
import { eventually } from '../../support/wait.ts';
import { ask } from '../cluster/callers.ts';
import type { Seat, TruthCluster } from './truth-cluster.ts';
import type { Question, TruthTable } from './truth-table.ts';

/** Of a set of policies: an agent tells of so many flows within a second and no more (`DROP_LIMITS`). */
const flowsMax = 60;
const toldMs = 10_000;

/** Sends packets that the oracle denies until each was told, and checks how. */
export async function deniedPacketsAreTold(
  truth: TruthCluster,
  table: TruthTable,
  { name, policies }: TruthCase,
  expected: readonly OracleVerdict[],
): Promise<void> {
  const denied = [...table.questions].flatMap((question, index) => {
    const verdict = expected[index];
    return verdict?.egress === true && verdict.ingress
      ? []
      : [{ question, egress: verdict?.egress === true }];
  });
  const step = Math.max(1, Math.ceil(denied.length / flowsMax));
  const sample = denied.filter((_, at) => at % step === 0);
  await truth.enforce(policies);
  const enforcedMs = Date.now();
  let untold = new Set(sample.map(({ question }) => question));
  let told: readonly DropRecord[] = [];
  await eventually(
    async () => {
      await table.askAgain((question) => untold.has(question));
      told = await recordsSince(truth, enforcedMs);
      untold = new Set([...untold].filter((question) => !told.some((record) => isOf(record, question))));
      return untold.size === 0;
    },
    { deadlineMs: toldMs, what: `the agents tell of all that "${name}" denies` },
  );
  for (const { question, egress } of sample)
    for (const record of told.filter((one) => isOf(one, question)))
      assert.deepEqual(essenceOf(record), wantedOf(policies, question, egress ? 'ingress' : 'egress'), name);
}

/** Of packets since then: what was gathered before may be told later. */
async function recordsSince({ cluster }: TruthCluster, sinceMs: number): Promise<readonly DropRecord[]> {
  const since = new Date(sinceMs).toISOString();
  const answers = await Promise.all(
    cluster.nodes.map((node) => ask<{ items: readonly DropRecord[] }>(node, `/drops?since=${since}`)),
  );
  return answers.flatMap(({ items }) => items);
}

function isOf({ from, to, protocol }: DropRecord, question: Question): boolean {
  return (
    from.ip === question.from &&
    to.ip === question.to &&
    to.port === question.port &&
    protocol === question.protocol
  );
}

type Direction = DropRecord['direction'];

function essenceOf({ node, reason, direction, from, to, policies }: DropRecord) {
  const end = ({ kind, name }: DropEnd) => ({ kind, name });
  return { node, reason, direction, from: end(from), to: end(to), policies };
}

function wantedOf(policies: readonly KubeObject[], { sender, receiver }: Question, direction: Direction) {
  const end = ({ kind, name }: Seat) => ({ kind, name });
  const pod = direction === 'egress' ? sender : receiver;
  return {
    ...{ node: pod.node?.name, reason: 'policy', direction, from: end(sender), to: end(receiver) },
    policies: policies
      .filter((policy) => isolates(policy, pod.name, direction))
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
      .toSorted(),
  };
}

/** Whether a policy isolates a pod, as the documentation of NetworkPolicy has it, for the selectors that tests make. */
function isolates({ metadata, spec }: KubeObject, pod: string, direction: Direction): boolean {
  const { namespace, labels = {} } = CASE_PODS.find((one) => `${one.namespace}/${one.name}` === pod) ?? {};
  const { podSelector, policyTypes, egress } = recordOf(spec);
  const byRules = Array.isArray(egress) && egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
  const types = Array.isArray(policyTypes) && policyTypes.length > 0 ? policyTypes : byRules;
  if (metadata.namespace !== namespace) return false;
  if (!types.some((type) => String(type).toLowerCase() === direction)) return false;
  const { matchLabels, matchExpressions } = recordOf(podSelector);
  const isEqual = [...stringMap(matchLabels)].every(([key, value]) => labels[key] === value);
  return isEqual && objectsOf(matchExpressions).every((one) => holds(one, labels));
}

function holds(
  { key, operator, values }: ReturnType<typeof objectsOf>[number],
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = labels[String(key)];
  const isAmong = Array.isArray(values) && value !== undefined && values.includes(value);
  switch (operator) {
    case 'In':
      return isAmong;
    case 'NotIn':
      return !isAmong;
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      throw new Error(`no operator ${String(operator)}`);
  }
}
