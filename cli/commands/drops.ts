import { followDrops } from '../../common/drop-stream.ts';
import { parseDurationMs } from '../../common/duration.ts';
import type { DropCounts, DropRecord } from '../../common/pod-network.ts';
import { AGENT_OPTIONS, type Agent, agentsOf, askAgent, connectError } from '../client/agents.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { DropColumns } from '../output/drops.ts';

const FORMATS = ['table', 'wide', 'json'] as const;
/** As many as an agent keeps. */
const tailMax = 10_000;
/** An agent that starts anew is back sooner. */
const goneMs = 15_000;

export const drops: CommandSpec = {
  name: 'drops',
  summary: 'show the packets that the pod network dropped, and why',
  usage: 'drops [-f] [--pod NS/NAME] [-n NAMESPACE] [--reason NAME] [--since 5m] [--tail N] [-o wide|json]',
  description:
    'Lists dropped packets with the pods at both ends, the reason and the NetworkPolicies that isolate the pod, oldest first.\nPackets of one flow within a second are one line.',
  examples: ['heddle drops', 'heddle drops -f -n shop', 'heddle drops --reason policy --since 5m -o wide'],
  options: {
    ...AGENT_OPTIONS,
    follow: { type: 'boolean', short: 'f', help: 'go on with what is dropped' },
    pod: { type: 'string', value: 'NS/NAME', help: 'only where this pod is at one end' },
    namespace: {
      type: 'string',
      short: 'n',
      value: 'NAMESPACE',
      help: 'only where a pod of it is at one end',
    },
    reason: { type: 'string', value: 'NAME', help: 'only for this reason: policy, bypass, spoofed, …' },
    since: { type: 'string', value: 'TIME', help: 'only those of the last 5m, 1h30m, …' },
    tail: { type: 'string', value: 'N', help: 'only the last N that are kept' },
    output: { type: 'string', short: 'o', value: 'FORMAT', help: 'wide or json' },
  },
  positionalsMax: 0,
  run: runDrops,
};

interface DropList {
  readonly items: readonly DropRecord[];
  readonly counts: DropCounts;
}

async function runDrops(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const format = input.choice('output', FORMATS, 'table');
  const tail = input.number('tail', 0, tailMax);
  const query = queryOf(input, context.clock.wallMs());
  const agents = agentsOf(input, context);
  if (input.flag('follow')) return follow(agents, query, tail, format, context);
  const lists = await Promise.all(agents.map((agent) => askAgent<DropList>(agent, `/drops?${query}`)));
  const found = merged(lists, tail);
  if (format === 'json') context.out(`${JSON.stringify({ items: found }, undefined, 2)}\n`);
  else if (found.length === 0)
    context.err('No drops: every packet that the agents have seen was let through.\n');
  else context.out(new DropColumns(format === 'wide').table(found));
  const untold = lists.reduce((sum, { counts }) => sum + counts.unlisted + (counts.lost ?? 0), 0);
  if (untold > 0) context.err(`${untold} more packets were dropped in floods and are not listed.\n`);
  return EXIT.done;
}

function queryOf(input: CommandInput, nowMs: number): URLSearchParams {
  const query = new URLSearchParams();
  for (const option of ['pod', 'namespace', 'reason']) {
    const value = input.text(option);
    if (value !== undefined) query.set(option, value);
  }
  const pod = input.text('pod');
  if (pod !== undefined && !/^[^/]+\/[^/]+$/.test(pod))
    throw usageError(`--pod must be namespace/name, not "${pod}"`);
  const since = input.text('since');
  if (since === undefined) return query;
  const sinceMs = parseDurationMs(since);
  if (sinceMs === undefined)
    throw usageError(`--since must be a duration such as 5m or 1h30m, not "${since}"`);
  query.set('since', new Date(nowMs - sinceMs).toISOString());
  return query;
}

function merged(lists: readonly DropList[], tail: number | undefined): readonly DropRecord[] {
  const all = lists
    .flatMap(({ items }) => items)
    .toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return tail === undefined ? all : all.slice(all.length - Math.min(tail, all.length));
}

/** Prints what is kept, of all nodes in order of time, and then what comes, until Ctrl-C or until every agent is gone for good. */
async function follow(
  agents: readonly Agent[],
  query: URLSearchParams,
  tail: number | undefined,
  format: (typeof FORMATS)[number],
  context: CliContext,
): Promise<ExitCode> {
  const ending = new AbortController();
  const quiet = context.onInterrupt(() => ending.abort());
  const columns = new DropColumns(format === 'wide');
  const print = (record: DropRecord) =>
    context.out(format === 'json' ? `${JSON.stringify(record)}\n` : columns.line(record));
  const held: DropRecord[] = [];
  let take = (record: DropRecord): void => void held.push(record);
  const opened = agents.map(() => Promise.withResolvers<void>());
  try {
    const following = agents.map((agent, index) =>
      followOne(agent, query, {
        ...{ context, signal: ending.signal },
        opened: () => opened[index]?.resolve(),
        record: (record) => take(record),
      }),
    );
    // Those that come while the kept ones are being read are in both.
    await Promise.race([Promise.all(opened.map(({ promise }) => promise)), Promise.all(following)]);
    const lists = await Promise.all(agents.map((agent) => askAgent<DropList>(agent, `/drops?${query}`)));
    const kept = merged(lists, tail);
    if (format === 'json') kept.forEach(print);
    else context.out(columns.table(kept));
    const known = new Set(lists.flatMap(({ items }) => items.map(identity)));
    for (const record of held) if (!known.has(identity(record))) print(record);
    take = print;
    await Promise.all(following);
    return EXIT.done;
  } finally {
    ending.abort();
    quiet();
  }
}

function identity({ node, sequence, at }: DropRecord): string {
  return `${node} ${sequence} ${at}`;
}

interface Following {
  readonly context: CliContext;
  readonly signal: AbortSignal;
  opened(): void;
  record(record: DropRecord): void;
}

/** Follows one agent through its restarts. Fails where it can't be reached at the start, or stays away. */
function followOne(
  agent: Agent,
  query: URLSearchParams,
  { context, signal, opened, record }: Following,
): Promise<void> {
  const { clock } = context;
  let goneSinceMs: number | undefined;
  let wasOpen = false;
  return followDrops({
    ...{ socket: agent.socket, clock, signal, record },
    query: new URLSearchParams([...query, ['tail', '0']]),
    connected() {
      wasOpen = true;
      goneSinceMs = undefined;
      opened();
    },
    disconnected(thrown) {
      if (thrown === undefined) return;
      const error = connectError(agent, thrown);
      if (!wasOpen || error.code !== 'unreachable') throw error;
      if (goneSinceMs === undefined) context.err(`heddle drops: ${error.message}; waiting for it\n`);
      goneSinceMs ??= clock.now();
      if (clock.now() - goneSinceMs > goneMs) throw error;
    },
  });
}
