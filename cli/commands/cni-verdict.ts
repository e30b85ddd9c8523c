import { stringify } from 'yaml';
import { HeddleError } from '../../common/errors.ts';
import type { DropEnd, VerdictStatus } from '../../common/pod-network.ts';
import { agentsOf, askAgent } from '../client/agents.ts';
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
  const agents = agentsOf(input, context);
  const settled = await Promise.allSettled(
    agents.map((agent) => askAgent<VerdictStatus>(agent, `/policy/verdict?${query}`)),
  );
  const failure = settled.find((one) => one.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  const found = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const [first] = found;
  if (first === undefined) throw new HeddleError('unreachable', 'no agent was asked');
  const egress = found.find((one) => one.egress !== undefined)?.egress;
  const ingress = found.find((one) => one.ingress !== undefined)?.ingress;
  const verdict = {
    ...first,
    allowed: egress?.allowed !== false && ingress?.allowed !== false,
    egress,
    ingress,
  };
  if (format === 'json') context.out(`${JSON.stringify(verdict, undefined, 2)}\n`);
  else if (format === 'yaml') context.out(stringify(verdict, { lineWidth: 0 }));
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
