import type { Facts, Finding } from './findings.ts';

/** Agents that don't answer, or that can't add pods. What they can't use of objects stands among the objects' problems. */
export function checkAgents({ agents }: Pick<Facts, 'agents'>): readonly Finding[] {
  const troubles = agents.flatMap((answer): readonly Finding[] => {
    const { agent } = answer;
    const about = `agent ${'socket' in agent ? (agent.node ?? agent.socket) : agent.node}`;
    if ('error' in answer) return [{ level: 'problem', about, message: answer.error }];
    const { ready, reason } = answer.status;
    if (ready) return [];
    return [
      {
        ...{ level: 'problem', about, message: `can't add pods: ${reason}` },
        remedy:
          'pod' in agent
            ? `heddle cni status --node ${agent.node}; kubectl logs ${agent.pod} -c agent -n heddle-system`
            : `heddle cni status, and heddle logs ${answer.status.node}-agent -n heddle-system`,
      },
    ];
  });
  if (agents.length === 0 || troubles.length > 0) return troubles;
  return [
    { level: 'good', about: 'pod network', message: `${agents.length} of ${agents.length} agents ready` },
  ];
}
