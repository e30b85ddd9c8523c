import { followDrops } from '../../common/drop-stream.ts';
import { parseDurationMs } from '../../common/duration.ts';
import { messageOf } from '../../common/errors.ts';
import type { DropCounts, DropRecord } from '../../common/pod-network.ts';
import {
  AGENT_OPTIONS,
  type Agent,
  allFailed,
  askAgent,
  askAll,
  connectError,
  withAgents,
} from '../client/agents.ts';
import { type CommandInput, type CommandSpec, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { DropColumns } from '../output/drops.ts';

const FORMATS = ['table', 'wide', 'json'] as const;
/** As many as an agent keeps. */
const tailMax = 10_000;
/** Drops shown of all nodes together, before those that come. */
const shownMax = 100_000;
/** Nodes followed at once; on Kubernetes each has a connection to the API server. */
const followedMax = 256;
/** An agent that starts anew is back sooner. */
const goneMs = 15_000;
/** One that hasn't begun to answer by then is left out, so that the others are shown. */
const openMs = 20_000;

export const drops: CommandSpec = {
  name: 'drops',
  summary: 'show the packets that the pod network dropped, and why',
  usage: 'drops [-f] [--pod NS/NAME] [-n NAMESPACE] [--reason NAME] [--since 5m] [--tail N] [-o wide|json]',
  description:
    'Lists dropped packets with the pods at both ends, the reason and the NetworkPolicies that isolate the pod, oldest first.\nPackets of one flow within a second are one line. On Kubernetes the agents of all nodes are asked, through the API server.',
  examples: [
    'heddle drops',
    'heddle drops -f -n shop',
    'heddle drops --reason policy --since 5m -o wide',
    'heddle drops -f --context prod --node worker-1',
  ],
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

interface Shown {
  readonly query: URLSearchParams;
  readonly tail: number | undefined;
  readonly format: (typeof FORMATS)[number];
}

async function runDrops(input: CommandInput, context: CliContext): Promise<ExitCode> {
  const format = input.choice('output', FORMATS, 'table');
  const tail = input.number('tail', 0, tailMax);
  const shown: Shown = { query: queryOf(input, context.clock.wallMs()), tail, format };
  return withAgents(input, context, (agents) =>
    input.flag('follow') ? follow(agents, shown, context) : list(agents, shown, context),
  );
}

async function list(agents: readonly Agent[], shown: Shown, context: CliContext): Promise<ExitCode> {
  const { kept, counts, failures } = await keptDrops(agents, shown, context);
  if (shown.format === 'json') context.out(`${JSON.stringify({ items: kept }, undefined, 2)}\n`);
  else if (kept.length > 0) context.out(columnsFor(agents, shown).table(kept));
  else if (failures.length === 0)
    context.err('No drops: every packet that the agents have seen was let through.\n');
  const untold = counts.reduce((sum, { unlisted, lost }) => sum + unlisted + (lost ?? 0), 0);
  if (untold > 0) context.err(`${untold} more packets were dropped in floods and are not listed.\n`);
  for (const failure of failures) context.err(`heddle drops: ${messageOf(failure)}\n`);
  return failures.length > 0 ? EXIT.failed : EXIT.done;
}

/** A cluster's nodes are named in any case: there drops of all are one list. */
function columnsFor(agents: readonly Agent[], { format }: Shown): DropColumns {
  return new DropColumns({ wide: format === 'wide', nodes: agents.some((agent) => 'dial' in agent) });
}

interface KeptDrops {
  readonly kept: readonly DropRecord[];
  readonly counts: readonly DropCounts[];
  readonly failures: readonly unknown[];
}

/** What the agents have kept, of all nodes in order of time. Says where they may have kept more than is shown. */
async function keptDrops(
  agents: readonly Agent[],
  { query, tail }: Shown,
  context: CliContext,
): Promise<KeptDrops> {
  const ofEach = Math.min(tail ?? tailMax, Math.max(1, Math.floor(shownMax / agents.length)));
  const asked = new URLSearchParams([...query, ['tail', String(ofEach)]]);
  const { answers, failures } = await askAll(agents, (agent) => askAgent<DropList>(agent, `/drops?${asked}`));
  if (ofEach < (tail ?? tailMax) && answers.some(({ items }) => items.length === ofEach))
    context.err(`Only the newest ${ofEach} of each node are shown; --node, --since and --tail choose.\n`);
  return { kept: merged(answers, tail), counts: answers.map(({ counts }) => counts), failures };
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
async function follow(agents: readonly Agent[], shown: Shown, context: CliContext): Promise<ExitCode> {
  if (agents.length > followedMax)
    throw usageError(
      `${followedMax} of ${agents.length} nodes can be followed at once: choose one with --node, or leave -f out`,
    );
  const ending = new AbortController();
  const quiet = context.onInterrupt(() => ending.abort());
  const columns = columnsFor(agents, shown);
  const print = (record: DropRecord) =>
    context.out(shown.format === 'json' ? `${JSON.stringify(record)}\n` : columns.line(record));
  const held: DropRecord[] = [];
  let take = (record: DropRecord): void => void held.push(record);
  const failures: unknown[] = [];
  const tell = (thrown: unknown) => context.err(`heddle drops: ${messageOf(thrown)}\n`);
  let isOpening = true;
  try {
    const followed = agents.map((agent) => {
      const opened = Promise.withResolvers<boolean>();
      const over = followOne(agent, shown.query, {
        ...{ context, signal: ending.signal },
        opened: () => opened.resolve(true),
        record: (record) => take(record),
      }).catch((thrown: unknown) => {
        failures.push(thrown);
        // Where all fail, that is the end of the command, which says why.
        if (!isOpening && failures.length < agents.length) tell(thrown);
      });
      void over.then(() => opened.resolve(false));
      return { agent, opened: opened.promise, over };
    });
    // Those that come while the kept ones are being read are in both.
    const opened = await Promise.all(followed.map((one) => one.opened));
    isOpening = false;
    const reached = agents.filter((_, index) => opened[index] === true);
    if (reached.length === 0 && failures.length > 0) throw allFailed(failures);
    failures.forEach(tell);
    if (!ending.signal.aborted) {
      const { kept } = await keptDrops(reached, shown, context);
      if (shown.format === 'json') kept.forEach(print);
      else context.out(columns.table(kept));
      const known = new Set(kept.map(identity));
      for (const record of held) if (!known.has(identity(record))) print(record);
      take = print;
    }
    await Promise.all(followed.map(({ over }) => over));
    if (failures.length === agents.length) throw allFailed(failures.slice(-1));
    return failures.length > 0 ? EXIT.failed : EXIT.done;
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
async function followOne(
  agent: Agent,
  query: URLSearchParams,
  { context, signal, opened, record }: Following,
): Promise<void> {
  const { clock } = context;
  let goneSinceMs: number | undefined;
  let wasOpen = false;
  const late = new AbortController();
  const timer = clock.after(openMs, () => late.abort());
  await followDrops({
    ...{ socket: 'dial' in agent ? agent.dial : agent.socket, clock, record },
    signal: AbortSignal.any([signal, late.signal]),
    query: new URLSearchParams([...query, ['tail', '0']]),
    connected() {
      timer.cancel();
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
  }).finally(() => timer.cancel());
  if (late.signal.aborted) throw connectError(agent, new Error(`no answer within ${openMs / 1_000} s`));
}
