import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { AGENT_SOCKET } from '../../common/agent-dial.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import type { JsonValue } from '../../common/json.ts';
import type { AgentStatus, ObjectProblem } from '../../common/pod-network.ts';
import { type CommandInput, type OptionSpec, usageError } from '../command-line.ts';
import type { CliContext } from '../context.ts';
import { textAt } from '../kube/fields.ts';
import { nodeName } from '../local/services.ts';
import type { MeshFile } from '../local/state-dir.ts';
import { nodePaths, runDirectory } from '../network/layout.ts';
import { didYouMean } from '../suggest.ts';
import { agentsLink, type ClusterAgent, clusterAgentError, clusterAgents } from './cluster-agents.ts';
import { accessText, connectCluster } from './kubernetes.ts';
import { fetchText } from './mesh.ts';
import { ANY_MESH_OPTIONS, type Which, whichMesh } from './which.ts';

/** Taking a pod network off a node takes longer than looking at it. */
const uninstallMs = 120_000;
/** Through an API server a long answer takes longer, and its way has to be opened first. */
const clusterAskMs = 30_000;
/** Agents asked at once. */
const asksMax = 16;
/** Names or messages in one line. */
const namesShownMax = 10;

/** Options of commands that ask node agents. */
export const AGENT_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  ...ANY_MESH_OPTIONS,
  node: { type: 'string', value: 'NAME', help: 'of this node only' },
  'admin-socket': {
    type: 'string',
    value: 'PATH',
    help: `ask the agent at this socket (on a node without a local mesh: ${AGENT_SOCKET})`,
  },
};

/** An agent of this machine. */
export interface SocketAgent {
  /** Undefined where only its socket is known. */
  readonly node: string | undefined;
  readonly socket: string;
}

/** A node's agent, as a command asks it. */
export type Agent = SocketAgent | ClusterAgent;

/**
 * Runs `use` with the agents that a command line means, and lets go of them. Fails with `usage`, `unreachable`, `loopback`,
 * `not-found`; says on stderr where nobody named the cluster.
 */
export async function withAgents<T>(
  input: CommandInput,
  context: CliContext,
  use: (agents: readonly Agent[]) => Promise<T>,
): Promise<T> {
  const socket = input.text('admin-socket');
  const node = input.text('node');
  if (socket !== undefined) {
    if (node !== undefined) throw usageError('--admin-socket says which node already: leave --node out');
    return use([{ node: undefined, socket: resolve(context.cwd, socket) }]);
  }
  const which = whichAgents(input, context);
  if (which === undefined) return use([{ node: undefined, socket: AGENT_SOCKET }]);
  if (which.kind === 'local') return use(chosen(localAgents(which.mesh.file), node));
  if (which.because !== undefined) context.err(`asking Kubernetes, ${accessText(which.access)}\n`);
  const client = await connectCluster(which.access, context);
  try {
    return await use(
      chosen(await clusterAgents(await agentsLink(client, which.access, context.clock)), node),
    );
  } finally {
    client.close();
  }
}

/** Those of one node where it is named. */
function chosen(agents: readonly Agent[], node: string | undefined): readonly Agent[] {
  if (node === undefined) return agents;
  const own = agents.filter((agent) => agent.node === node);
  if (own.length > 0) return own;
  const names = agents.flatMap((agent) => agent.node ?? []);
  const shown = names.slice(0, namesShownMax).join(', ');
  const more = names.length > namesShownMax ? ` and ${names.length - namesShownMax} more` : '';
  throw new HeddleError(
    'not-found',
    `the mesh has no node "${node}"${didYouMean(node, names)}; it has ${shown}${more}`,
  );
}

function localAgents(file: MeshFile): readonly Agent[] {
  if (file.network !== 'loopback') return meshAgents(file);
  throw new HeddleError(
    'loopback',
    'this mesh runs in loopback mode, which has no pod network and drops no packet; run "heddle up --network ebpf" as root for one',
  );
}

/** The agents of a local mesh; none in loopback mode. */
export function meshAgents({ name, network, nodes }: MeshFile): readonly SocketAgent[] {
  if (network === 'loopback') return [];
  const run = runDirectory(name);
  return Array.from({ length: nodes }, (_, index) => nodeName(index)).map((node) => ({
    node,
    socket: nodePaths(run, node).adminSocket,
  }));
}

/** How an agent is doing, or why it can't be asked. */
export type AgentAnswer =
  | { readonly agent: Agent; readonly status: AgentStatus }
  | { readonly agent: Agent; readonly error: string; readonly code?: string };

/** Asks all how they are doing. */
export async function askStates(agents: readonly Agent[]): Promise<readonly AgentAnswer[]> {
  const settled = await askEach(agents, (agent) => askAgent<AgentStatus>(agent, '/status'));
  return agents.map((agent, index) => {
    const one = settled[index];
    if (one?.status === 'fulfilled') return { agent, status: one.value };
    const thrown: unknown = one?.reason;
    const code = thrown instanceof HeddleError ? thrown.code : 'agent';
    return { agent, error: messageOf(thrown), code };
  });
}

/** Asks every agent something, some at once. Never rejects; answers stand in the order of the agents. */
export async function askEach<T>(
  agents: readonly Agent[],
  ask: (agent: Agent) => Promise<T>,
): Promise<readonly PromiseSettledResult<T>[]> {
  const settled: PromiseSettledResult<T>[] = [];
  const waiting = [...agents.entries()];
  const asker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, agent] = next;
      [settled[index]] = await Promise.allSettled([ask(agent)]);
    }
  };
  await Promise.all(Array.from({ length: Math.min(asksMax, agents.length) }, asker));
  return settled;
}

/** What agents said, and why the others couldn't be asked. */
export interface Answers<T> {
  readonly answers: readonly T[];
  readonly failures: readonly unknown[];
}

/** Asks every agent something. Rejects with the first failure where all fail. */
export async function askAll<T>(
  agents: readonly Agent[],
  ask: (agent: Agent) => Promise<T>,
): Promise<Answers<T>> {
  const settled = await askEach(agents, ask);
  const answers = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failures = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
  if (answers.length === 0) throw allFailed(failures);
  return { answers, failures };
}

/** All failures as one, with the code of the first. A right that is missing is missing for all alike, and said once. */
export function allFailed(failures: readonly unknown[]): HeddleError {
  const codes = failures.map((one) => (one instanceof HeddleError ? one.code : 'agent'));
  const messages = failures.map(messageOf);
  const told = codes.includes('exec-forbidden') ? messages.slice(0, 1) : messages.slice(0, namesShownMax);
  const more = messages.length - namesShownMax;
  const rest = told.length > 1 && more > 0 ? `; and ${more} more` : '';
  return new HeddleError(codes[0] ?? 'unreachable', `${told.join('; ')}${rest}`);
}

/** What agents can't use of objects, each once. */
export function agentProblems(answers: readonly AgentAnswer[]): readonly ObjectProblem[] {
  const problems = answers.flatMap((answer) => ('status' in answer ? answer.status.problems : []));
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
}

/** The mesh that is meant; undefined where none is named and the machine itself is a node. */
function whichAgents(input: CommandInput, context: CliContext): Which | undefined {
  const named = Object.keys(AGENT_OPTIONS).some((option) => input.text(option) !== undefined);
  const isNode = !named && existsSync(AGENT_SOCKET);
  try {
    const which = whichMesh(input, context);
    return which.kind === 'kubernetes' && isNode ? undefined : which;
  } catch (thrown) {
    if (isNode && thrown instanceof HeddleError && thrown.code === 'unreachable') return undefined;
    throw thrown;
  }
}

/** What an agent answers. Fails with `unreachable`, `forbidden`, or `agent` with what it said; a message names the node. */
export async function askAgent<T>(agent: Agent, path: string): Promise<T> {
  return (await answer(agent, path)) as T;
}

/** Tells an agent to take its pod network away. */
export async function uninstallAgent<T>(agent: SocketAgent, force: boolean): Promise<T> {
  return (await answer(agent, `/uninstall${force ? '?force=1' : ''}`, {})) as T;
}

async function answer(agent: Agent, path: string, body?: JsonValue): Promise<JsonValue> {
  const post = body === undefined ? {} : { body, timeoutMs: uninstallMs };
  const way =
    'dial' in agent ? { connection: agent.dial, timeoutMs: clusterAskMs } : { socketPath: agent.socket };
  const { status, text } = await fetchText(`http://agent${path}`, { ...way, ...post }).catch(
    (thrown: unknown) => {
      throw connectError(agent, thrown);
    },
  );
  let parsed: JsonValue;
  try {
    parsed = JSON.parse(text) as JsonValue;
  } catch {
    throw new HeddleError('agent', `${nameOf(agent)} answered ${status} without JSON`);
  }
  if (status !== 200)
    throw new HeddleError('agent', `${nameOf(agent)}: ${textAt(parsed, 'error') ?? status}`);
  return parsed;
}

function nameOf(agent: Agent): string {
  return 'socket' in agent && agent.node === undefined
    ? `the agent at ${agent.socket}`
    : `the agent of ${agent.node}`;
}

/** Why an agent can't be asked, with what to do: `unreachable`, `forbidden`, or of a cluster as `clusterAgentError` says. */
export function connectError(agent: Agent, thrown: unknown): HeddleError {
  if ('dial' in agent) return clusterAgentError(agent, thrown);
  if (thrown instanceof HeddleError) return thrown;
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  const who = nameOf(agent);
  if (code === 'EACCES' || code === 'EPERM')
    return new HeddleError('forbidden', `${agent.socket} is for root alone: run this with sudo`);
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    const look =
      agent.node === undefined
        ? 'start heddle-cni-agent on this node, or name its socket by --admin-socket'
        : `see "heddle logs ${agent.node}-agent -n heddle-system"`;
    return new HeddleError('unreachable', `${who} doesn't run (${agent.socket}): ${look}`);
  }
  return new HeddleError('unreachable', `${who} doesn't answer: ${messageOf(thrown)}`);
}
