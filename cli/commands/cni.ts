import { HeddleError, messageOf } from '../../common/errors.ts';
import type {
  AgentStatus,
  CaptureStatus,
  EndpointStatus,
  PolicyStatus,
  ServiceStatus,
  UninstallReport,
} from '../../common/pod-network.ts';
import { yamlText } from '../../sources/files/dialect.ts';
import {
  AGENT_OPTIONS,
  type Agent,
  askAgent,
  askAll,
  type SocketAgent,
  uninstallAgent,
  withAgents,
} from '../client/agents.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import {
  captureTable,
  endpointTable,
  mapTable,
  type OnNode,
  policyText,
  serviceTable,
  statusNotes,
  statusTable,
  type TableView,
} from '../output/pod-network.ts';
import { didYouMean } from '../suggest.ts';
import { explainVerdict } from './cni-verdict.ts';

const FORMATS = ['table', 'wide', 'yaml', 'json'] as const;

export const cni: CommandSpec = {
  name: 'cni',
  summary: "show the pod network's state on each node, or remove it",
  usage:
    'cni status|endpoints|services|policy|capture|uninstall [--node NAME] [-n NAMESPACE] [-o wide|yaml|json]',
  description: `Asks the agent of each node what it has put into the kernel.
  status      how the agents are: pods, addresses, programs, problems
  endpoints   the addresses that each node knows, where they lead, and whether its own pods are in the mesh
  services    the addresses and ports of Services, and the pods behind them
  policy      what isolates each pod and what it is allowed all the same;
              with --from, --to and --port: whether one connection is, exit code 0 for yes and 1 for no
  capture     which pods' TCP goes through their sidecar, and what they skip
  uninstall   takes programs, devices, rules and addresses off the node
On Kubernetes an agent is asked by a command in its pod, through the API server.`,
  examples: [
    'heddle cni status -o wide',
    'heddle cni policy -n shop',
    'heddle cni policy --from shop/web-0 --to shop/db-0 --port 5432',
    'heddle cni endpoints --node node-1 --kernel',
    'heddle cni status --context prod',
  ],
  options: {
    ...AGENT_OPTIONS,
    namespace: { type: 'string', short: 'n', value: 'NAMESPACE', help: 'of this namespace (default all)' },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'wide, yaml or json' },
    kernel: { type: 'boolean', help: "compare with the kernel's own maps (status, endpoints, services)" },
    from: { type: 'string', value: 'NS/POD|IP', help: 'of policy: who connects' },
    to: { type: 'string', value: 'NS/POD|IP', help: 'of policy: to whom' },
    port: { type: 'string', value: 'PORT', help: 'of policy: the port there, by number or name' },
    protocol: { type: 'string', value: 'NAME', help: 'of policy: TCP, UDP, SCTP or ICMP (default TCP)' },
    force: { type: 'boolean', help: 'of uninstall: although pods are attached' },
  },
  positionalsMax: 1,
  run: runCni,
};

type Subcommand = (input: CommandInput, context: CliContext) => Promise<ExitCode>;

const SUBCOMMANDS: ReadonlyMap<string, Subcommand> = new Map([
  ['status', status],
  ['endpoints', list<EndpointStatus>('endpoints', ({ name }) => name, endpointTable)],
  ['services', list<ServiceStatus>('services', ({ owner }) => owner.split(' ')[1] ?? '', serviceTable)],
  ['policy', policy],
  ['capture', list<CaptureStatus>('capture', ({ pod }) => pod, captureTable)],
  ['uninstall', uninstall],
]);

/** Options that belong to some subcommands only: the others refuse them rather than ignore them. */
const OWN_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  kernel: ['status', 'endpoints', 'services'],
  namespace: ['endpoints', 'services', 'policy', 'capture'],
  from: ['policy'],
  to: ['policy'],
  port: ['policy'],
  protocol: ['policy'],
  force: ['uninstall'],
};

async function runCni(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const [name] = input.positionals;
  const names = [...SUBCOMMANDS.keys()];
  if (name === undefined) throw usageError(`say what to show: ${names.join(', ')}`);
  const subcommand = SUBCOMMANDS.get(name);
  if (subcommand === undefined)
    throw usageError(`unknown "${name}"${didYouMean(name, names)}; known are ${names.join(', ')}`);
  for (const [option, owners] of Object.entries(OWN_OPTIONS))
    if ((input.text(option) !== undefined || input.flag(option)) && !owners.includes(name))
      throw usageError(`--${option} belongs to ${owners.map((owner) => `"cni ${owner}"`).join(', ')}`);
  return subcommand(input, context);
}

async function status(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const format = input.choice('output', FORMATS, 'table');
  const kernel = input.flag('kernel');
  const asked = await askNodes<AgentStatus>(input, context, `/status${kernel ? '?kernel=1' : ''}`);
  const items = asked.answers.map(({ answer }) => answer);
  if (format === 'json' || format === 'yaml') context.out(structured(items, format));
  else if (items.length > 0) {
    context.out(statusTable(items, viewOf(format, context)));
    if (kernel) context.out(`\n${mapTable(items)}`);
    context.err(statusNotes(items, context.cwd));
  }
  return asked.code;
}

/** A subcommand that shows a list, each item with the `namespace/name` that it is of. */
function list<T>(
  what: string,
  nameOf: (item: T) => string,
  table: (items: readonly OnNode<T>[], view: TableView) => string,
): Subcommand {
  return async (input, context) => {
    const format = input.choice('output', FORMATS, 'table');
    const path = `/${what}${input.flag('kernel') ? '?kernel=1' : ''}`;
    const { items, code } = await listOf(input, context, path, nameOf);
    if (format === 'json' || format === 'yaml') context.out(structured(items, format));
    else if (items.length === 0) context.err(`No ${what} found.\n`);
    else context.out(table(items, viewOf(format, context)));
    return code;
  };
}

async function listOf<T>(
  input: CommandInput,
  context: CliContext,
  path: string,
  nameOf: (item: T) => string,
): Promise<{ readonly items: readonly OnNode<T>[]; readonly code: ExitCode }> {
  const namespace = input.text('namespace');
  const { answers, code } = await askNodes<{ readonly items: readonly T[] }>(input, context, path);
  const items = answers.flatMap(({ node, answer }) =>
    answer.items
      .filter((item) => namespace === undefined || nameOf(item).startsWith(`${namespace}/`))
      .map((item) => ({ node, ...item })),
  );
  return { items, code };
}

async function policy(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const format = input.choice('output', FORMATS, 'table');
  const asks = ['from', 'to', 'port', 'protocol'].some((option) => input.text(option) !== undefined);
  if (asks) return explainVerdict(input, context, format);
  const { items, code } = await listOf<PolicyStatus>(input, context, '/policy', ({ pod }) => pod);
  if (format === 'json' || format === 'yaml') context.out(structured(items, format));
  else if (items.length === 0) context.err('No pods of the pod network found.\n');
  else context.out(policyText(items));
  return code;
}

async function uninstall(input: CommandInput, context: CliContext): Promise<ExitCode> {
  return withAgents(input, context, async (agents) => {
    let code: ExitCode = EXIT.done;
    for (const agent of agents) {
      if ('dial' in agent)
        throw usageError(
          'on Kubernetes a node would be set up again at once by its DaemonSet; run: heddle uninstall --cni',
        );
      code = Math.max(code, await uninstallOne(agent, input.flag('force'), context)) as ExitCode;
    }
    return code;
  });
}

async function uninstallOne(agent: SocketAgent, force: boolean, context: CliContext): Promise<ExitCode> {
  const name = agent.node ?? agent.socket;
  try {
    const { removed, failed } = await uninstallAgent<UninstallReport>(agent, force);
    for (const line of removed) context.out(`${name}: removed ${line}\n`);
    for (const line of failed) context.err(`${name}: could not remove ${line}\n`);
    return failed.length > 0 ? EXIT.failed : EXIT.done;
  } catch (thrown) {
    const isGone = thrown instanceof HeddleError && thrown.code === 'unreachable';
    const advice = isGone ? '; what it left is removed by "heddle-cni-agent --uninstall" on the node' : '';
    context.err(`heddle cni: ${messageOf(thrown)}${advice}\n`);
    return isGone ? EXIT.unreachable : EXIT.failed;
  }
}

interface Asked<T> {
  readonly answers: readonly { readonly node: string; readonly answer: T }[];
  readonly code: ExitCode;
}

/** Asks every agent that is meant. One that doesn't answer is told on stderr beside what the others say. */
async function askNodes<T>(input: CommandInput, context: CliContext, path: string): Promise<Asked<T>> {
  const { answers, failures } = await withAgents(input, context, (agents) =>
    askAll(agents, (agent) => askOne<T>(agent, path)),
  );
  for (const failure of failures) context.err(`heddle cni: ${messageOf(failure)}\n`);
  return { answers, code: failures.length > 0 ? EXIT.failed : EXIT.done };
}

async function askOne<T>(agent: Agent, path: string): Promise<{ node: string; answer: T }> {
  const answer = await askAgent<T>(agent, path);
  const node = agent.node ?? (await askAgent<AgentStatus>(agent, '/status')).node;
  return { node, answer };
}

function structured(items: readonly unknown[], format: 'json' | 'yaml'): string {
  return format === 'json' ? `${JSON.stringify({ items }, undefined, 2)}\n` : yamlText({ items });
}

function viewOf(format: string, context: CliContext): TableView {
  return { wide: format === 'wide', nowMs: context.clock.wallMs() };
}
