import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
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
import { accessText } from './kubernetes.ts';
import { fetchText } from './mesh.ts';
import { ANY_MESH_OPTIONS, type Which, whichMesh } from './which.ts';

/** Where the agent of a real node answers. */
const DEFAULT_SOCKET = '/run/heddle/cni-admin.sock';
/** Taking a pod network off a node takes longer than looking at it. */
const uninstallMs = 120_000;

/** Why a cluster's agents aren't asked from here. */
const ON_NODES = `a node's agent answers on a socket of that node alone, which the API server doesn't lead to. \
On the node, run this as root (socket ${DEFAULT_SOCKET}); or read the agent's own words: \
kubectl logs daemonset/heddle-cni -c agent -n ${SYSTEM_NAMESPACE}`;

/** Options of commands that ask node agents. */
export const AGENT_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  ...ANY_MESH_OPTIONS,
  node: { type: 'string', value: 'NAME', help: 'of this node of the mesh only' },
  'admin-socket': {
    type: 'string',
    value: 'PATH',
    help: `ask the agent at this socket (on a node without a local mesh: ${DEFAULT_SOCKET})`,
  },
};

/** A node's agent, as a command asks it. */
export interface Agent {
  /** Undefined where only its socket is known. */
  readonly node: string | undefined;
  readonly socket: string;
}

/** The agents that a command line means. Fails with `usage`, `unreachable`, `loopback`, `not-found`. */
export function agentsOf(input: CommandInput, context: CliContext): readonly Agent[] {
  const socket = input.text('admin-socket');
  const node = input.text('node');
  if (socket !== undefined) {
    if (node !== undefined) throw usageError('--admin-socket says which node already: leave --node out');
    return [{ node: undefined, socket: resolve(context.cwd, socket) }];
  }
  const file = meshFileOf(input, context);
  if (file === undefined) return [{ node: undefined, socket: DEFAULT_SOCKET }];
  if (file.network === 'loopback')
    throw new HeddleError(
      'loopback',
      'this mesh runs in loopback mode, which has no pod network and drops no packet; run "heddle up --network ebpf" as root for one',
    );
  const agents = meshAgents(file);
  const names = agents.flatMap((agent) => agent.node ?? []);
  if (node !== undefined && !names.includes(node))
    throw new HeddleError(
      'not-found',
      `the mesh has no node "${node}"${didYouMean(node, names)}; it has ${names.join(', ')}`,
    );
  return agents.filter((agent) => node === undefined || agent.node === node);
}

/** The agents of a local mesh; none in loopback mode. */
export function meshAgents({ name, network, nodes }: MeshFile): readonly Agent[] {
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
  | { readonly agent: Agent; readonly error: string };

/** Asks all at once how they are doing. */
export function askStates(agents: readonly Agent[]): Promise<readonly AgentAnswer[]> {
  return Promise.all(
    agents.map((agent) =>
      askAgent<AgentStatus>(agent, '/status').then(
        (status) => ({ agent, status }),
        (thrown: unknown) => ({ agent, error: messageOf(thrown) }),
      ),
    ),
  );
}

/** What agents can't use of objects, each once. */
export function agentProblems(answers: readonly AgentAnswer[]): readonly ObjectProblem[] {
  const problems = answers.flatMap((answer) => ('status' in answer ? answer.status.problems : []));
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
}

/** The local mesh; undefined where none runs but the machine itself is a node. */
function meshFileOf(input: CommandInput, context: CliContext): MeshFile | undefined {
  const named = Object.keys(AGENT_OPTIONS).some((option) => input.text(option) !== undefined);
  const isNode = !named && existsSync(DEFAULT_SOCKET);
  let which: Which;
  try {
    which = whichMesh(input, context);
  } catch (thrown) {
    if (isNode && thrown instanceof HeddleError && thrown.code === 'unreachable') return undefined;
    throw thrown;
  }
  if (which.kind === 'local') return which.mesh.file;
  if (isNode) return undefined;
  throw new HeddleError('unreachable', `${accessText(which.access)}: ${ON_NODES}`);
}

/** What an agent answers. Fails with `unreachable`, `forbidden`, or `agent` with what it said; a message names the node. */
export async function askAgent<T>(agent: Agent, path: string): Promise<T> {
  return (await answer(agent, path)) as T;
}

/** Tells an agent to take its pod network away. */
export async function uninstallAgent<T>(agent: Agent, force: boolean): Promise<T> {
  return (await answer(agent, `/uninstall${force ? '?force=1' : ''}`, {})) as T;
}

async function answer(agent: Agent, path: string, body?: JsonValue): Promise<JsonValue> {
  const { socket } = agent;
  const post = body === undefined ? {} : { body, timeoutMs: uninstallMs };
  const { status, text } = await fetchText(`http://agent${path}`, { socketPath: socket, ...post }).catch(
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

function nameOf({ node, socket }: Agent): string {
  return node === undefined ? `the agent at ${socket}` : `the agent of ${node}`;
}

/** Why an agent can't be asked: `unreachable` or `forbidden`, with what to do. */
export function connectError(agent: Agent, thrown: unknown): HeddleError {
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
