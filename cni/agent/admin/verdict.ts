import { isIPv6 } from 'node:net';
import { addressText, canonicalAddress } from '../../../common/address.ts';
import { HeddleError } from '../../../common/errors.ts';
import type { DirectionStatus, DropEnd, VerdictStatus } from '../../../common/pod-network.ts';
import { keyOf } from '../../../model/read/meta.ts';
import type { TransportName } from '../../maps/constants.ts';
import { NOT_ISOLATED, type PolicyPlan } from '../../policy/plan.ts';
import { PORT_MAX } from '../../policy/ports.ts';
import { type DirectionVerdict, type Verdict, verdict } from '../../policy/verdict.ts';
import type { AddressBook } from '../address-book.ts';
import { bookOf } from './answers.ts';
import type { AgentView } from './view.ts';

const TRANSPORTS: readonly TransportName[] = ['TCP', 'UDP', 'SCTP'];

interface Question {
  readonly from: DropEnd;
  readonly to: DropEnd;
  readonly transport: TransportName | undefined;
  readonly port: number;
}

/**
 * What this node would do with a new connection: `from` and `to` are `namespace/pod` or an address, `port` a number or the
 * name that the receiver gives it. Throws `bad-request` or `not-found`, whose messages say what to ask instead.
 */
export function verdictOf(view: AgentView, params: URLSearchParams): VerdictStatus {
  const book = bookOf(view);
  const plan = withDns(view.policy(), view.services());
  const question = questionOf(view, book, plan, params);
  const { from, to, transport, port } = question;
  const judged = verdict(plan, { from: from.ip, to: to.ip, protocol: transport, port });
  const { egress, ingress } = asThePacketsMeetIt(view, question, judged);
  return {
    ...{ from, to, protocol: transport ?? 'ICMP', port, egress, ingress },
    allowed: egress?.allowed !== false && ingress?.allowed !== false,
  };
}

/** The cluster's DNS address counts as the pods behind it (`endpoint_map`). */
function withDns(plan: PolicyPlan, services: ReturnType<AgentView['services']>): PolicyPlan {
  const addresses = new Map(plan.addresses);
  for (const { kind, key } of services.frontends)
    if (kind === 'dns') addresses.set(addressText(key.address), plan.dnsIdentity);
  return { ...plan, addresses };
}

/** What the programs look at before and beside the rules. */
function asThePacketsMeetIt(
  view: AgentView,
  { from, to }: Question,
  { egress, ingress }: Verdict,
): Record<'egress' | 'ingress', DirectionStatus | undefined> {
  const own = view.condition().node;
  const isOwn = (end: DropEnd) => end.kind === 'node' && end.name === own;
  const admitted = (direction: DirectionVerdict): DirectionStatus => ({
    ...{ allowed: true, policies: direction.isolatedBy, allowedBy: [] },
    reason: "a pod's own node is always admitted",
  });
  const held = (direction: DirectionVerdict): DirectionStatus => ({
    ...{ allowed: false, policies: direction.isolatedBy, allowedBy: [] },
    reason: `no pod is known to have ${from.ip}: its packets are held back until one is`,
  });
  return {
    egress: egress && (isOwn(to) ? admitted(egress) : statusOf(egress)),
    ingress:
      ingress &&
      (isOwn(from)
        ? admitted(ingress)
        : from.kind === 'unknown' && ingress.set !== NOT_ISOLATED
          ? held(ingress)
          : statusOf(ingress)),
  };
}

function statusOf({ allowed, isolatedBy, allowedBy, reason }: DirectionVerdict): DirectionStatus {
  return { allowed, policies: isolatedBy, allowedBy, reason };
}

function questionOf(view: AgentView, book: AddressBook, plan: PolicyPlan, params: URLSearchParams): Question {
  const fromText = required(params, 'from');
  const toText = required(params, 'to');
  const fromAll = addressesOf(view, book, fromText, 'from');
  const toAll = addressesOf(view, book, toText, 'to');
  const fromIp = fromAll.find((one) => toAll.some((other) => isIPv6(one) === isIPv6(other)));
  const toIp = toAll.find((one) => fromIp !== undefined && isIPv6(one) === isIPv6(fromIp));
  if (fromIp === undefined || toIp === undefined)
    throw badRequest(`${fromText} and ${toText} have no addresses of one family`);
  const transport = transportOf(params.get('protocol') ?? 'TCP');
  const port = transport === undefined ? 0 : portOf(required(params, 'port'), transport, plan, toIp);
  refuseService(view, book, toIp);
  return {
    ...{ from: { ip: fromIp, port: 0, ...book.find(fromIp) }, to: { ip: toIp, port, ...book.find(toIp) } },
    ...{ transport, port },
  };
}

function addressesOf(view: AgentView, book: AddressBook, text: string, name: string): readonly string[] {
  const ip = canonicalAddress(text);
  if (ip !== undefined) return [ip];
  if (!/^[a-z0-9.-]+\/[a-z0-9.-]+$/.test(text))
    throw badRequest(`${name} must be namespace/pod or an IP address, not ${JSON.stringify(text)}`);
  const known = book.podAddresses(text);
  if (known.length > 0) return known;
  const exists = view.pods().some(({ object }) => keyOf(object) === text);
  throw new HeddleError(
    'not-found',
    exists
      ? `pod ${text} has no address of its own: it has not got one yet, has ended, or is in its node's network (ask for the node's address)`
      : `no pod ${text} is known`,
  );
}

/** Policy is judged behind a Service, at the pod that its address was exchanged for. */
function refuseService(view: AgentView, book: AddressBook, ip: string): void {
  const at = view
    .services()
    .frontends.filter(
      ({ kind, key }) => kind !== 'dns' && kind !== 'node-port' && addressText(key.address) === ip,
    );
  const [first] = at;
  if (first === undefined || book.find(ip).kind === 'node') return;
  const backends = [...new Set(at.flatMap((one) => one.backends))].map((text) => {
    const name = book.podAt(text.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''));
    return name === undefined ? text : `${name} (${text})`;
  });
  const ask =
    backends.length === 0 ? 'it has no endpoint' : `ask for one of ${backends.slice(0, 5).join(', ')}`;
  throw badRequest(
    `${ip} is an address of ${first.owner}, and policy is judged at the pods behind it: ${ask}`,
  );
}

function transportOf(text: string): TransportName | undefined {
  const upper = text.toUpperCase();
  const found = TRANSPORTS.find((one) => one === upper);
  if (found === undefined && upper !== 'ICMP')
    throw badRequest(`protocol must be TCP, UDP, SCTP or ICMP, not ${JSON.stringify(text)}`);
  return found;
}

function portOf(text: string, transport: TransportName, plan: PolicyPlan, ip: string): number {
  const number = Number(text);
  if (/^\d{1,5}$/.test(text) && number >= 1 && number <= PORT_MAX) return number;
  const ports = plan.identities.get(plan.addresses.get(ip) ?? 0)?.namedPorts;
  const named = ports?.get(`${transport}/${text}`);
  if (named !== undefined) return named;
  const names = [...(ports?.keys() ?? [])].join(', ') || 'none';
  throw badRequest(
    `port must be 1 to ${PORT_MAX} or the name of a port of the receiver, not ${JSON.stringify(text)}; its names: ${names}`,
  );
}

function required(params: URLSearchParams, name: string): string {
  const value = params.get(name);
  if (value === null || value === '') throw badRequest(`${name} is required`);
  return value;
}

function badRequest(message: string): HeddleError {
  return new HeddleError('bad-request', message);
}
