import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { JsonObject } from '../../../common/json.ts';
import type { EndpointStatus } from '../../../common/pod-network.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { leakCheck } from '../../support/leak-check.ts';
import { CASE_PORTS } from '../../support/policy/case.ts';
import { handmadeCases } from '../../support/policy/handmade-policies.ts';
import type { OracleVerdict } from '../../support/policy/oracle.ts';
import { randomCases } from '../../support/policy/random-policies.ts';
import { eventually } from '../../support/wait.ts';
import { ask } from '../cluster/callers.ts';
import { PodPrograms } from './pod-programs.ts';
import { TruthCluster } from './truth-cluster.ts';
import { type Question, TruthTable } from './truth-table.ts';

leakCheck();

const answeredMs = 20_000;
const STREAM_PORT = 7000;
const cases = [...handmadeCases().filter((_, at) => at % 3 === 0), ...randomCases(20, 20_261_129)];

let truth: TruthCluster;
let table: TruthTable;
let programs: PodPrograms;

before(async () => {
  truth = await TruthCluster.start();
  table = await TruthTable.start(truth, CASE_PORTS);
  programs = await PodPrograms.start(truth.byName, CASE_PORTS);
});

after(async () => {
  await programs?.stop();
  await table?.[Symbol.asyncDispose]();
  await truth?.close();
});

/** Python has no sockets of SCTP, and only pods have programs here. */
function isAsked({ protocol, sender, receiver }: Question): boolean {
  return protocol !== 'SCTP' && sender.kind === 'pod' && receiver.kind === 'pod';
}

async function answersOf(name: string, policies: readonly KubeObject[], expected: readonly OracleVerdict[]) {
  await truth.enforce(policies);
  const questions = table.questions.filter(isAsked);
  const allowed = new Set(
    table.questions.filter((one, at) => isAsked(one) && expected[at]?.egress && expected[at].ingress),
  );
  const before = table.policyDrops();
  await programs.begin(questions);
  let answered: ReadonlyMap<Question, string> = new Map();
  await eventually(
    async () => {
      const isRefused = table.policyDrops() - before >= questions.length - allowed.size;
      answered = await programs.answered(questions);
      return isRefused && [...allowed].every((one) => answered.has(one));
    },
    { deadlineMs: answeredMs, what: `"${name}": what is allowed is answered, the rest is dropped` },
  );
  return { answered, allowed };
}

it(`${cases.length} sets of policies do to programs' sockets what another project’s matcher says`, async () => {
  const oracle = table.oracle(cases);
  for (const [index, { name, policies }] of cases.entries()) {
    const { answered, allowed } = await answersOf(name, policies, oracle[index] ?? []);
    for (const [{ from, to, protocol, port, receiver }, text] of answered)
      assert.equal(text, `${receiver.name} ${from}`, `${name}: ${from} to ${to} ${protocol} ${port}`);
    assert.deepEqual(new Set(answered.keys()), allowed, name);
  }
});

describe('connections that are open', () => {
  const CLIENT = 'x/a';
  const deny = (namespace: string, spec: JsonObject): KubeObject => ({
    ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
    ...{ metadata: { name: 'cut', namespace }, spec: { podSelector: {}, ...spec } },
  });

  async function open(server: string, family: 'ip4' | 'ip6', port: number): Promise<void> {
    const address = truth.byName.get(server)?.[family];
    await programs.in(server).run(`wait_for_caller("${address}", ${port})`);
    await programs.in(CLIENT).run(`stream = dial("${address}", ${port}); stream.setblocking(False)`);
    await passes(server, 'at first');
  }

  /** Both ways; what was held back comes by TCP's own repetition. */
  async function passes(server: string, text: string): Promise<void> {
    await programs.in(CLIENT).run(`stream.send(b"${text}")`);
    await heard(server, 'peer', text);
    await programs.in(server).run(`peer.send(b"${text}")`);
    await heard(CLIENT, 'stream', text);
  }

  async function heard(pod: string, socket: string, text: string): Promise<void> {
    let all = '';
    await eventually(
      async () => {
        all += String(await programs.in(pod).value(`heard(${socket})`));
        return all.endsWith(text);
      },
      { deadlineMs: answeredMs, what: `${pod} hears "${text}"` },
    );
  }

  async function isCut(server: string): Promise<void> {
    for (const [pod, socket, other, otherSocket] of [
      [CLIENT, 'stream', server, 'peer'],
      [server, 'peer', CLIENT, 'stream'],
    ] as const) {
      const before = table.policyDrops();
      await programs.in(pod).run(`${socket}.send(b"held back")`);
      await eventually(() => table.policyDrops() > before, {
        ...{ deadlineMs: answeredMs, what: `what ${pod} sends to ${other} is dropped` },
      });
      assert.equal(await programs.in(other).value(`heard(${otherSocket})`), '');
    }
  }

  const cuts = {
    'at its server': (server: string) => deny(server.slice(0, 1), { policyTypes: ['Ingress'] }),
    'at its client': () => deny('x', { policyTypes: ['Egress'] }),
  };
  let port = STREAM_PORT;
  for (const [where, policyOf] of Object.entries(cuts)) {
    for (const [server, way] of [
      ['z/a', 'on one node'],
      ['y/a', 'between nodes'],
    ] as const) {
      for (const family of ['ip4', 'ip6'] as const) {
        it(`are cut both ways by a new policy ${where}, and heal with it: ${way}, ${family}`, async () => {
          await truth.enforce([]);
          await open(server, family, ++port);
          await truth.enforce([policyOf(server)]);
          await isCut(server);
          await truth.enforce([]);
          await passes(server, 'healed');
        });
      }
    }
  }

  it('are cut when their client gets other labels, and heal with them', async () => {
    const server = 'y/a';
    const [client] = truth.pods.filter(({ metadata }) => `${metadata.namespace}/${metadata.name}` === CLIENT);
    assert.ok(client !== undefined);
    const from = [{ namespaceSelector: {}, podSelector: { matchLabels: { app: 'a' } } }];
    await truth.enforce([deny('y', { ingress: [{ from }] })]);
    await open(server, 'ip4', ++port);
    await relabelled({ ...client, metadata: { ...client.metadata, labels: { app: 'other' } } });
    await isCut(server);
    await relabelled(client);
    await passes(server, 'healed');
  });

  async function relabelled(pod: KubeObject): Promise<void> {
    const ip = truth.byName.get(CLIENT)?.ip4;
    const identities = () =>
      Promise.all(
        truth.cluster.nodes.map(async (node) => {
          const { items } = await ask<{ items: readonly EndpointStatus[] }>(node, '/endpoints');
          return items.find((one) => one.ip === ip)?.identity;
        }),
      );
    const before = await identities();
    truth.cluster.apply(pod);
    await eventually(async () => (await identities()).every((one, at) => one !== before[at]), {
      ...{ deadlineMs: answeredMs, what: 'both nodes know the new labels' },
    });
  }

  it('go on while policies change that have nothing to say of them', async () => {
    await truth.enforce([]);
    await open('y/a', 'ip4', ++port);
    await truth.enforce([deny('z', { policyTypes: ['Ingress', 'Egress'] })]);
    await passes('y/a', 'another namespace');
    await truth.enforce([deny('x', { policyTypes: ['Ingress'] })]);
    await passes('y/a', 'answers to the client');
    await truth.enforce([deny('y', { policyTypes: ['Egress'] })]);
    await passes('y/a', 'answers of the server');
  });
});
