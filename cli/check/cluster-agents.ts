import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import type { Problem } from '../../model/objects.ts';
import { hasReason } from '../../sources/kubernetes/errors.ts';
import { type AgentAnswer, agentProblems, askStates } from '../client/agents.ts';
import { agentsLink, type ClusterAgent, clusterAgents } from '../client/cluster-agents.ts';
import type { ClusterMesh } from '../client/cluster-mesh.ts';
import type { CliContext } from '../context.ts';
import { checkAgents } from './agents.ts';
import type { Finding } from './findings.ts';

/** More agents than this aren't asked: the first ones are, and it is said. */
const asksMax = 200;
const ABOUT = 'pod network';

/** What the agents of a cluster say. */
export interface AgentsSeen {
  /** Of themselves, and of those that couldn't be asked. */
  readonly findings: readonly Finding[];
  /** What they can't use of objects. */
  readonly problems: readonly Problem[];
}

/** Asks the agents of all nodes how they are, as far as we may. Never rejects. */
export async function lookAtAgents(
  { client, access }: Pick<ClusterMesh, 'client' | 'access'>,
  { clock }: Pick<CliContext, 'clock'>,
): Promise<AgentsSeen> {
  let agents: readonly ClusterAgent[];
  try {
    agents = await clusterAgents(await agentsLink(client, access, clock));
  } catch (thrown) {
    // Where there is none, that is said of the DaemonSet.
    const may = !hasReason(thrown, 'Forbidden');
    return { findings: may ? [] : [unseen('list pods', 'list pods')], problems: [] };
  }
  // Whoever may not ask one may ask none.
  const first = await askStates(agents.slice(0, 1));
  if (first.some((one) => 'error' in one && one.code === 'exec-forbidden'))
    return {
      ...{ findings: [unseen('get and create pods/exec', 'create pods/exec')], problems: [] },
    };
  return seen([...first, ...(await askStates(agents.slice(1, asksMax)))], agents.length);
}

/** What is to be told of answers, where there are so many agents. */
export function seen(answers: readonly AgentAnswer[], agents: number): AgentsSeen {
  const isOld = (answer: AgentAnswer) => 'error' in answer && answer.code === 'agent-old';
  const old = answers.filter(isOld);
  const findings = [...checkAgents({ agents: answers.filter((answer) => !isOld(answer)) })];
  if (old.length > 0)
    findings.push({
      ...{ level: 'warning', about: ABOUT, remedy: 'heddle upgrade' },
      message: `${old.length} of ${answers.length} agents can't be asked: their image is older than this command`,
    });
  if (answers.length < agents) {
    const message = `${agents - answers.length} of ${agents} agents were not asked`;
    findings.push({ level: 'note', about: ABOUT, message });
  }
  return { findings, problems: agentProblems(answers) };
}

function unseen(right: string, asked: string): Finding {
  const message = `what agents say can't be looked at: you may not ${right} in ${SYSTEM_NAMESPACE}`;
  const remedy = `kubectl auth can-i ${asked} -n ${SYSTEM_NAMESPACE}; ask somebody who may`;
  return { level: 'warning', about: ABOUT, message, remedy };
}
