import { HeddleError, messageOf } from '../../common/errors.ts';
import type { DropEnd, VerdictStatus } from '../../common/pod-network.ts';
import { yamlText } from '../../sources/files/dialect.ts';
import { askAgent, askAll, withAgents } from '../client/agents.ts';
import { type CommandInput, usageError } from '../command-line.ts';
import { type CliContext, EXIT, type ExitCode } from '../context.ts';
import { directionText, hostText } from '../output/pod-network.ts';

/**
 * Whether NetworkPolicies allow one connection, and why: the sender's node says what its egress is, the receiver's what its ingress is.
 * Exit code 0 where it is allowed, 1 where it isn't, as `kubectl auth can-i` has it.
 */
export async function explainVerdict(
  input: CommandInput,
  context: CliContext,
  format: 'table' | 'wide' | 'yaml' | 'json',
): Promise<ExitCode> {
  const query = queryOf(input);
  const { answers, failures } = await withAgents(input, context, (agents) =>
    askAll(agents, (agent) => askAgent<VerdictStatus>(agent, `/policy/verdict?${query}`)),
  );
  const [first] = answers;
  if (first === undefined) throw new HeddleError('unreachable', 'no agent was asked');
  const egress = answers.find((one) => one.egress !== undefined)?.egress;
  const ingress = answers.find((one) => one.ingress !== undefined)?.ingress;
  const isDenied = egress?.allowed === false || ingress?.allowed === false;
  const lacks = (end: DropEnd, direction: unknown) => end.kind === 'pod' && direction === undefined;
  // An agent that didn't answer may be the one to say no.
  if (failures.length > 0 && !isDenied && (lacks(first.from, egress) || lacks(first.to, ingress)))
    throw failures[0];
  for (const failure of failures) context.err(`heddle cni: ${messageOf(failure)}\n`);
  const verdict = {
    ...first,
    allowed: !isDenied,
    egress,
    ingress,
  };
  if (format === 'json') context.out(`${JSON.stringify(verdict, undefined, 2)}\n`);
  else if (format === 'yaml') context.out(yamlText(verdict));
  else context.out(verdictText(verdict));
  return verdict.allowed ? EXIT.done : EXIT.failed;
}

function queryOf(input: CommandInput): URLSearchParams {
  const query = new URLSearchParams();
  const protocol = input.text('protocol') ?? 'TCP';
  const wanted = protocol.toUpperCase() === 'ICMP' ? ['from', 'to'] : ['from', 'to', 'port'];
  for (const option of wanted) {
    const value = input.text(option);
    if (value === undefined || value === '') throw usageError(`--${option} is needed beside the others`);
    query.set(option, value);
  }
  query.set('protocol', protocol);
  return query;
}

function verdictText(verdict: VerdictStatus): string {
  const { from, to, protocol, port, allowed, egress, ingress } = verdict;
  const target = port === 0 ? protocol : `${protocol}/${port}`;
  return [
    `${allowed ? 'allowed' : 'denied'}: ${endText(from)} → ${endText(to)} ${target}\n`,
    directionText('egress', egress, missingText(from, 'egress')),
    directionText('ingress', ingress, missingText(to, 'ingress')),
  ].join('');
}

function endText({ kind, name, ip }: DropEnd): string {
  const what = name === '' ? kind : kind === 'pod' ? name : `${kind} ${name}`;
  return `${what} (${hostText(ip)})`;
}

function missingText({ kind }: DropEnd, direction: keyof Pick<VerdictStatus, 'egress' | 'ingress'>): string {
  return kind === 'pod'
    ? `not judged here: the pod is on a node that wasn't asked, or isn't attached yet`
    : `not judged: NetworkPolicies hold for the ${direction} of pods`;
}
