import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentStatus } from '../../common/pod-network.ts';
import { leakCheck } from '../../test/support/leak-check.ts';
import type { AgentAnswer } from '../client/agents.ts';
import { seen } from './cluster-agents.ts';

leakCheck();

function agent(node: string) {
  return { node, pod: `pod-on-${node}`, dial: () => Promise.reject(new Error('unused')) };
}

function answer(node: string, part: Partial<AgentStatus> = {}): AgentAnswer {
  return {
    agent: agent(node),
    status: { node, ready: true, problems: [], ...part } as unknown as AgentStatus,
  };
}

test("an agent that can't add pods is a problem, with the commands that tell more of it", () => {
  const { findings } = seen([answer('a'), answer('b', { ready: false, reason: 'no uplink' })], 2);
  assert.deepEqual(findings, [
    {
      ...{ level: 'problem', about: 'agent b', message: "can't add pods: no uplink" },
      remedy: 'heddle cni status --node b; kubectl logs pod-on-b -c agent -n heddle-system',
    },
  ]);
});

test('images that are older are one warning, and hide no agent that is ready', () => {
  const old = (node: string): AgentAnswer => ({ agent: agent(node), error: 'old', code: 'agent-old' });
  const { findings } = seen([answer('a'), old('b'), old('c')], 3);
  assert.deepEqual(
    findings.map(({ level, message }) => [level, message]),
    [
      ['good', '1 of 1 agents ready'],
      ['warning', "2 of 3 agents can't be asked: their image is older than this command"],
    ],
  );
});

test('where there are more agents than are asked, that is said', () => {
  const { findings } = seen([answer('a')], 5);
  assert.equal(findings.at(-1)?.message, '4 of 5 agents were not asked');
});

test('what several agents say of one object is said once', () => {
  const problem = {
    ...{ severity: 'error' as const, source: 'cluster', line: 0 },
    ...{ object: 'NetworkPolicy shop/x', field: 'spec', message: 'is wrong' },
  };
  const answers = ['a', 'b'].map((node) => answer(node, { problems: [problem] }));
  assert.deepEqual(seen(answers, 2).problems, [problem]);
});
