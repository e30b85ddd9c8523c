import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentStatus, ObjectProblem } from '../../common/pod-network.ts';
import { settle, VirtualClock } from '../../test/support/virtual-clock.ts';
import type { AgentAnswer } from '../client/agents.ts';
import { AgentProblems } from './agent-problems.ts';

const agent = { node: 'n1', socket: '/none' };

/** Two agents that see the same objects. */
function saying(...problems: ObjectProblem[]): readonly AgentAnswer[] {
  const status = { problems } as Partial<AgentStatus> as AgentStatus;
  return [
    { agent, status },
    { agent, status },
  ];
}

const BROKEN: ObjectProblem = {
  ...{ severity: 'error', source: '/m/policy.yaml', line: 7, object: 'NetworkPolicy shop/web' },
  ...{ field: 'spec.ingress[0].from[0].ipBlock.cidr', message: 'must be a CIDR' },
};

test('a problem is told once, again where it came back, and an agent that does not answer changes nothing', async () => {
  const clock = new VirtualClock();
  const told: string[] = [];
  let answers = saying();
  const problems = new AgentProblems({
    ...{ clock, cwd: '/m', warn: (line: string) => void told.push(line) },
    ask: () => Promise.resolve(answers),
  });
  const after = async (next: readonly AgentAnswer[]) => {
    answers = next;
    await clock.advance(1_000);
    await settle(8);
    return told.length;
  };
  assert.equal(await after(saying()), 0);
  assert.equal(await after(saying(BROKEN)), 1);
  assert.equal(
    told[0],
    'policy.yaml:7: NetworkPolicy shop/web: spec.ingress[0].from[0].ipBlock.cidr: must be a CIDR',
  );
  assert.equal(await after(saying(BROKEN)), 1);
  assert.equal(await after([...saying().slice(1), { agent, error: 'down' }]), 1);
  assert.equal(await after(saying(BROKEN)), 1);
  assert.equal(await after(saying()), 1);
  assert.equal(await after(saying(BROKEN)), 2);
  problems.close();
  assert.equal(await after(saying()), 2);
  assert.equal(await after(saying(BROKEN)), 2, 'nobody is asked any more');
});
