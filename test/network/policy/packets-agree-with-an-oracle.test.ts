import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openPinnedMap } from '../../../cni/kernel/libbpf.ts';
import { IDENTITY, POLICY_BITS } from '../../../cni/maps/constants.ts';
import { decode, encode } from '../../../cni/maps/struct.ts';
import { TABLES } from '../../../cni/maps/tables.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { CASE_PORTS, type TruthCase } from '../../support/policy/case.ts';
import { handmadeCases } from '../../support/policy/handmade-policies.ts';
import type { OracleVerdict } from '../../support/policy/oracle.ts';
import { randomCases } from '../../support/policy/random-policies.ts';
import { deniedPacketsAreTold } from './denied-packets.ts';
import { TruthCluster } from './truth-cluster.ts';
import { type Difference, type Outcome, type Question, TruthTable } from './truth-table.ts';

leakCheck();

const SEED = 20_261_128;
const RANDOM_CASES = 220;
const cases = [...handmadeCases(), ...randomCases(RANDOM_CASES, SEED)];

for (const mode of ['tunnel', 'direct'] as const) {
  describe(`the truth table by packets, mode ${mode}`, () => {
    // Between nodes that route each other's pods everything but the way is the same.
    const asked = mode === 'tunnel' ? cases : cases.slice(0, 60);
    let truth: TruthCluster;
    let table: TruthTable;
    let expected: readonly (readonly OracleVerdict[])[];
    const outcomes: Outcome[] = [];

    before(async () => {
      truth = await TruthCluster.start(mode);
      truth.silence();
      table = await TruthTable.start(truth, CASE_PORTS);
      expected = table.oracle(asked);
    });

    after(async () => {
      await table?.[Symbol.asyncDispose]();
      await truth?.close();
    });

    const differencesOf = (index: number, one: TruthCase, outcome: Outcome): readonly Difference[] =>
      table.differences(one.name, expected[index] ?? [], outcome);

    it(`${asked.length} sets of policies do to packets what another project’s matcher says`, async () => {
      const differences: Difference[] = [];
      for (const [index, one] of asked.entries()) {
        const outcome = await table.ask(one.policies);
        outcomes.push(outcome);
        differences.push(...differencesOf(index, one, outcome));
      }
      assert.deepEqual(differences.slice(0, 5), [], `${differences.length} differences`);
      const arrived = outcomes.reduce((sum, outcome) => sum + outcome.arrived.size, 0);
      const sent = outcomes.length * table.questions.length;
      assert.ok(arrived > sent / 20 && arrived < (sent * 19) / 20, `${arrived} of ${sent} arrive`);
    });

    it('pods and nodes see each other’s own addresses, the world those of nodes', () => {
      for (const { arrived, renamed } of outcomes) {
        for (const index of arrived) {
          const { from, sender, receiver } = questionAt(table, index);
          const six = from.includes(':');
          const outside = receiver.kind === 'world' ? (six ? sender.node?.ip6 : sender.node?.ip4) : undefined;
          assert.equal(renamed.get(index) ?? from, outside ?? from);
        }
      }
    });

    if (mode !== 'tunnel') return;

    it('an entry too few, or one too many, shows', async () => {
      const [index, one] =
        [...asked.entries()].find(([, { name }]) => name === 'nested blocks at different ports') ?? [];
      assert.ok(index !== undefined && one !== undefined);
      assert.deepEqual(differencesOf(index, one, await table.ask(one.policies)), []);
      const { pins } = truth.cluster.node(0);
      using map = openPinnedMap(join(pins, 'maps', TABLES.policy.name));
      const differences = async () => differencesOf(index, one, await table.askAgain()).length;
      const entries = map.entries();
      let shown = 0;
      for (const [key, value] of entries) {
        map.delete(key);
        if ((await differences()) > 0) shown++;
        map.update(key, value);
      }
      assert.ok(shown > entries.length / 2, `${shown} of ${entries.length} entries are missed`);
      assert.equal(await differences(), 0, 'all is as before');
      const { set } = decode(TABLES.policy.key, entries[0]?.[0] ?? Buffer.alloc(0));
      const anybody = { bits: POLICY_BITS.ANY_PROTOCOL, set, peer: IDENTITY.ANY, protocol: 0, port: 0 };
      map.update(encode(TABLES.policy.key, anybody), encode(TABLES.policy.value, 1));
      assert.notEqual(await differences(), 0);
      map.delete(encode(TABLES.policy.key, anybody));
      assert.equal(await differences(), 0, 'all is as before');
    });

    it('an oracle that knows one policy less shows', () => {
      const known = asked.map((one) => ({ ...one, policies: one.policies.slice(1) }));
      const answers = table.oracle(known);
      const shown = outcomes.filter(
        (outcome, index) => table.differences('', answers[index] ?? [], outcome).length > 0,
      );
      assert.ok(shown.length > asked.length / 3, `${shown.length} of ${asked.length}`);
    });

    it('every packet that is denied is told, with both ends and the policies that isolate', async () => {
      for (const [index, one] of [...asked.entries()].slice(0, 60))
        await deniedPacketsAreTold(truth, table, one, expected[index] ?? []);
    });
  });
}

function questionAt({ questions }: TruthTable, index: number): Question {
  const question = questions[index];
  assert.ok(question !== undefined);
  return question;
}
