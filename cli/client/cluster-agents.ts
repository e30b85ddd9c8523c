import { AGENT_POD, DIAL_EXIT } from '../../common/agent-dial.ts';
import type { Clock } from '../../common/clock.ts';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import type { Connect } from '../../common/drop-stream.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { KubernetesClient } from '../../sources/kubernetes/client.ts';
import { CommandFailed, type PodExec, podExec } from '../../sources/kubernetes/exec.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { at, listAt, textAt } from '../kube/fields.ts';
import { podStatus } from '../output/columns.ts';
import { asUnreachable, type KubeAccess } from './kubernetes.ts';

/** Pods in one answer of the API server. */
const pageObjects = 500;
/** A look at the agents' pods serves every agent that is dialled within this. */
const lookMs = 2_000;

/** What reaching the agents of a cluster takes. */
export interface AgentsLink {
  readonly client: Pick<KubernetesClient, 'list'>;
  readonly exec: PodExec;
  readonly clock: Clock;
}

/** By the client's own kubeconfig. Fails with code `unreachable` where it can't be used. */
export async function agentsLink(
  client: AgentsLink['client'],
  { kubeconfig, context }: KubeAccess,
  clock: Clock,
): Promise<AgentsLink> {
  try {
    return { client, exec: await podExec(kubeconfig, context, clock), clock };
  } catch (thrown) {
    throw asUnreachable(thrown);
  }
}

/** The agent of a cluster's node, reached through the API server by a command in its pod. */
export interface ClusterAgent {
  readonly node: string;
  /** Of when the agents were looked for. */
  readonly pod: string;
  /** A connection to its admin socket, by whichever pod of the node leads there now. */
  readonly dial: Connect;
}

/** The agents of a cluster by their nodes, in order of names. Fails with `unreachable` where there is none. */
export async function clusterAgents(link: AgentsLink): Promise<readonly ClusterAgent[]> {
  const look = shared(() => agentPods(link), link.clock);
  const pods = await look().catch((thrown: unknown) => {
    throw asUnreachable(thrown);
  });
  if (pods.size === 0)
    throw new HeddleError(
      'unreachable',
      `this cluster has no pod of heddle-cni in ${SYSTEM_NAMESPACE}: Heddle's pod network is not installed; "heddle check" says more`,
    );
  return [...pods]
    .map(([node, pod]) => ({
      ...{ node, pod: pod.metadata.name },
      async dial(signal: AbortSignal) {
        const through = async (anew: boolean) =>
          link.exec(commandIn(node, (await look(anew)).get(node)), signal);
        // In the middle of a rollout a pod may go between two looks.
        return through(false).catch((thrown: unknown) => {
          if (thrown instanceof HeddleError && thrown.code === 'exec-gone') return through(true);
          throw thrown;
        });
      },
    }))
    .toSorted((a, b) => (a.node < b.node ? -1 : 1));
}

function commandIn(node: string, pod: KubeObject | undefined): Parameters<PodExec>[0] {
  if (pod === undefined) throw new HeddleError('exec-gone', `no pod of heddle-cni is on ${node} any more`);
  const { name } = pod.metadata;
  if (!agentState(pod).running)
    throw new HeddleError(
      'unreachable',
      `it doesn't run (pod ${name}: ${podStatus(pod)}): kubectl describe pod ${name} -n ${SYSTEM_NAMESPACE}`,
    );
  const { container, command } = AGENT_POD;
  return { namespace: SYSTEM_NAMESPACE, pod: name, container, command };
}

/** The pod of each node that leads to its agent. */
async function agentPods({ client }: AgentsLink): Promise<ReadonlyMap<string, KubeObject>> {
  const pods: KubeObject[] = [];
  let next: string | undefined;
  do {
    const page = await client.list(KINDS.pod, {
      ...{ namespace: SYSTEM_NAMESPACE, labelSelector: AGENT_POD.labelSelector },
      ...{ continue: next, limit: pageObjects },
    });
    pods.push(...page.items);
    next = page.continue;
  } while (next !== undefined);
  return leadingPods(pods);
}

/**
 * Of each node the pod to go through. All agents of a node have its one admin socket, and whoever serves answers there; while
 * one version follows another there are two pods, and the one that stays is the better way: what is asked through the other
 * ends with it.
 */
export function leadingPods(pods: readonly KubeObject[]): ReadonlyMap<string, KubeObject> {
  const best = new Map<string, KubeObject>();
  for (const pod of pods) {
    const node = nodeOf(pod);
    const phase = textAt(pod.status, 'phase');
    // One that was evicted stays as an object.
    if (node === undefined || phase === 'Failed' || phase === 'Succeeded') continue;
    const known = best.get(node);
    if (known === undefined || isBetter(pod, known)) best.set(node, pod);
  }
  return best;
}

function isBetter(pod: KubeObject, than: KubeObject): boolean {
  const [mine, other] = [rankOf(pod), rankOf(than)];
  return mine === other ? createdAt(pod) > createdAt(than) : mine > other;
}

/** Whether it runs counts most, then whether it stays, then whether it is ready. */
function rankOf(pod: KubeObject): number {
  const { running, ready } = agentState(pod);
  const stays = pod.metadata.deletionTimestamp === undefined;
  return (running ? 4 : 0) + (stays ? 2 : 0) + (ready ? 1 : 0);
}

function agentState(pod: KubeObject): { readonly running: boolean; readonly ready: boolean } {
  const own = listAt(pod.status, 'containerStatuses').find(
    (one) => textAt(one, 'name') === AGENT_POD.container,
  );
  return { running: at(own, 'state', 'running') !== undefined, ready: at(own, 'ready') === true };
}

function createdAt(pod: KubeObject): string {
  return textAt(pod, 'metadata', 'creationTimestamp') ?? '';
}

/** A DaemonSet's pod that isn't scheduled yet names its node as well. */
function nodeOf({ spec }: KubeObject): string | undefined {
  const terms = ['affinity', 'nodeAffinity', 'requiredDuringSchedulingIgnoredDuringExecution'];
  const wanted = [...terms, 'nodeSelectorTerms', 0, 'matchFields', 0, 'values', 0];
  return textAt(spec, 'nodeName') ?? textAt(spec, ...wanted);
}

/** One answer for all who ask while it is new; `anew` wants another one than the one before. */
function shared<T>(ask: () => Promise<T>, clock: Clock): (anew?: boolean) => Promise<T> {
  let last: { readonly atMs: number; readonly answer: Promise<T> } | undefined;
  return (anew = false) => {
    const nowMs = clock.now();
    if (last === undefined || anew || nowMs - last.atMs > lookMs) last = { atMs: nowMs, answer: ask() };
    return last.answer;
  };
}

/**
 * Why a cluster's agent couldn't be asked, by its node: `exec-forbidden` and `agent-old`, which stay as they are; `unreachable` for
 * all that may pass.
 */
export function clusterAgentError({ node, pod }: ClusterAgent, thrown: unknown): HeddleError {
  const who = `the agent of ${node}`;
  if (!(thrown instanceof HeddleError))
    return new HeddleError('unreachable', `${who} doesn't answer: ${messageOf(thrown)}`);
  const told = (code: string, message: string) =>
    new HeddleError(code, `${who} ${message}`, { cause: thrown });
  if (thrown instanceof CommandFailed) {
    if (isMissing(thrown))
      return told(
        'agent-old',
        `can't be asked from outside its node: the image of pod ${pod} is older than this command; "heddle upgrade", or run this on the node as root`,
      );
    const look = `kubectl logs ${pod} -c ${AGENT_POD.container} -n ${SYSTEM_NAMESPACE}`;
    const isAbsent = thrown.exitCode === DIAL_EXIT.noAgent;
    return told('unreachable', `${isAbsent ? "doesn't run" : "can't be asked"} (${thrown.said}): ${look}`);
  }
  if (thrown.code === 'exec-forbidden') return told(thrown.code, `can't be asked: ${thrown.message}`);
  return told('unreachable', `can't be asked: ${thrown.message}`);
}

/** Images of before have Node and not this program; others may not even have Node there. */
function isMissing({ exitCode, said }: CommandFailed): boolean {
  const [node, program] = AGENT_POD.command;
  const isNoProgram = said.includes('Cannot find module') && said.includes(program);
  const isNoNode = exitCode === undefined || exitCode === 126 || exitCode === 127;
  return isNoProgram || (isNoNode && said.includes(node) && /no such file/i.test(said));
}
