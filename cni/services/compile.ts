import { addressBytes, addressText, isMapped, isNoAddress } from '../../common/address.ts';
import type { Problem, SourcedObject } from '../../model/objects.ts';
import { createdAtMs, keyOf, recordOf, stringMap } from '../../model/read/meta.ts';
import { compareText } from '../../model/route/order.ts';
import { Findings } from '../../model/status.ts';
import { PROTOCOL, protocolName, SCOPE, SERVICE } from '../maps/constants.ts';
import type { Place } from './choose.ts';
import { hostPortOffers, hostPortProblem } from './host-ports.ts';
import { contentOf, Numbering, newNumbers } from './numbers.ts';
import { offersOf } from './offers.ts';
import {
  DEFAULT_SERVICE_LIMITS,
  FRONTEND_KINDS,
  type FrontendKey,
  type HealthCheck,
  type HostPortMapping,
  type Offer,
  type PlannedBackend,
  type PlannedFrontend,
  type ServiceInput,
  type ServiceLimits,
  type ServiceMemory,
  type ServiceNumbers,
  type ServiceOffers,
  type ServicePlan,
} from './plan.ts';
import { type ReadSlice, readSlice, slicesByService } from './slices.ts';

const DNS_PORT = 53;
const NO_SLICES: readonly SourcedObject[] = [];

/** An offer, and how to tell its owner that somebody else has the place. */
interface Claim {
  readonly offer: Offer;
  refuse(message: string, findings: Findings): void;
}

/** Carried from one compilation to the next: a plan is one; so are numbers alone, after a start. */
export type Previous = Pick<ServicePlan, 'numbers'> & Partial<Pick<ServicePlan, 'memory'>>;

/**
 * Services, EndpointSlices and hostPorts as this node serves them ("Virtual IPs and Service Proxies" in the Kubernetes
 * reference, and kube-proxy where that says nothing). Pure; whatever can't be used becomes a problem. `previous` keeps
 * numbers of backend lists and spares the work for Services whose objects are the same by reference.
 */
export function compileServices(
  input: ServiceInput,
  previous: Previous = { numbers: newNumbers() },
  limits: ServiceLimits = DEFAULT_SERVICE_LIMITS,
): ServicePlan {
  const { memory, claims, healthChecks, problems } = gather(input, previous.memory, limits);
  const findings = new Findings();
  findings.problems.push(...problems);
  const ports = hostPortOffers(input.hostPorts, input.node.addresses);
  findings.problems.push(...ports.problems);
  const refused = new Set<HostPortMapping>();
  const all: Claim[] = [
    ...dnsOffers(input.dnsAddresses).map((offer) => ({ offer, refuse: () => undefined })),
    ...ports.offers.map(({ offer, mapping }) => ({
      offer,
      refuse: (message: string) => {
        // Once for all of a node's addresses.
        if (mapping.nodeAddresses !== undefined || refused.has(mapping)) return;
        refused.add(mapping);
        findings.problems.push(hostPortProblem(mapping, message));
      },
    })),
    ...claims,
  ];
  const granted = grant(all, findings);
  const planned = number(granted, previous.numbers, limits, findings);
  return {
    ...planned,
    healthChecks: settleChecks(healthChecks, findings),
    problems: findings.problems,
    memory,
  };
}

/** The node's zone, by its Node object. */
function placeOf(input: ServiceInput): Place {
  const own = input.nodes.find(({ object }) => object.metadata.name === input.node.name);
  const labels = stringMap(recordOf(own?.object.metadata).labels);
  return {
    ...{ node: input.node.name, others: input.otherNodes },
    zone: labels.get('topology.kubernetes.io/zone'),
  };
}

interface Gathered {
  readonly memory: ServiceMemory;
  readonly claims: readonly Claim[];
  readonly healthChecks: readonly { readonly check: HealthCheck; readonly sourced: SourcedObject }[];
  readonly problems: readonly Problem[];
}

/** Asks each Service, the oldest first: who came first keeps what several ask for. */
function gather(input: ServiceInput, before: ServiceMemory | undefined, limits: ServiceLimits): Gathered {
  const place = placeOf(input);
  const slices = slicesByService(input.endpointSlices);
  const others = input.otherNodes.map(({ name, addresses }) => [name, ...addresses].join(' ')).join();
  const memory = new Map<string, { inputs: readonly unknown[]; result: ServiceOffers }>();
  const claims: Claim[] = [];
  const healthChecks: { check: HealthCheck; sourced: SourcedObject }[] = [];
  const problems: Problem[] = [];
  for (const { sourced, key } of byAge(input.services)) {
    if (memory.has(key)) continue;
    const own = slices.get(key) ?? NO_SLICES;
    const isLocal = recordOf(sourced.object.spec).externalTrafficPolicy === 'Local';
    const asked = [sourced, place.node, place.zone, isLocal ? others : ''];
    const inputs = [...asked, limits.backendsPerServiceMax, ...own];
    const known = before?.get(key);
    const result =
      known !== undefined && sameItems(known.inputs, inputs)
        ? known.result
        : offersOfService(sourced, own, place, limits);
    memory.set(key, { inputs, result });
    for (const offer of result.offers) {
      const refuse: Claim['refuse'] = (message, findings) =>
        findings.problem(sourced, 'error', offer.field, message);
      claims.push({ offer, refuse });
    }
    if (result.healthCheck !== undefined) healthChecks.push({ check: result.healthCheck, sourced });
    problems.push(...result.problems);
  }
  return { memory, claims, healthChecks, problems };
}

function offersOfService(
  sourced: SourcedObject,
  slices: readonly SourcedObject[],
  place: Place,
  limits: ServiceLimits,
): ServiceOffers {
  const read: readonly ReadSlice[] = slices.map(readSlice);
  const result = offersOf(
    sourced,
    read.flatMap(({ slice }) => slice ?? []),
    place,
    limits,
  );
  return { ...result, problems: [...result.problems, ...read.flatMap(({ problems }) => problems)] };
}

function byAge(services: readonly SourcedObject[]): readonly { sourced: SourcedObject; key: string }[] {
  return services
    .map((sourced) => ({ sourced, key: keyOf(sourced.object), bornMs: createdAtMs(sourced.object) }))
    .sort((a, b) => a.bornMs - b.bornMs || compareText(a.key, b.key));
}

function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** The node's own DNS process answers there, so that programs leave it alone. */
function dnsOffers(addresses: readonly string[]): readonly Offer[] {
  return addresses.flatMap((text) =>
    [PROTOCOL.UDP, PROTOCOL.TCP].map(
      (protocol): Offer => ({
        kind: 'dns',
        owner: "the node's DNS",
        field: [],
        key: { address: addressBytes(text), port: DNS_PORT, protocol, scope: SCOPE.INTERNAL },
        flags: SERVICE.DNS,
        affinityS: 0,
        backends: [],
      }),
    ),
  );
}

/** One owner for each address and port: by kind, then by age. */
function grant(claims: readonly Claim[], findings: Findings): readonly Offer[] {
  const granted = new Map<string, Offer>();
  const refused = new Set<string>();
  for (const kind of FRONTEND_KINDS) {
    for (const { offer, refuse } of claims) {
      if (offer.kind !== kind) continue;
      const text = frontendText(offer.key);
      const owner = granted.get(text);
      if (owner === undefined) granted.set(text, offer);
      else if (!isSilent(owner, offer)) {
        const where = placeText(offer.key);
        const once = `${offer.owner} ${where}`;
        if (refused.has(once)) continue;
        refused.add(once);
        const message = `${where} is that of ${owner.owner} (${owner.kind}) already: it stays with it`;
        refuse(message, findings);
      }
    }
  }
  return [...granted.values()];
}

/** The Service of the cluster's DNS asks for the very port that the node answers itself; and one may name an address twice. */
function isSilent(owner: Offer, offer: Offer): boolean {
  return (owner.kind === 'dns' && offer.kind === 'cluster-ip') || owner.owner === offer.owner;
}

/** Numbers the lists of backends, as far as the maps have room; an offer that doesn't fit is left out whole. */
function number(
  offers: readonly Offer[],
  before: ServiceNumbers,
  limits: ServiceLimits,
  findings: Findings,
): Pick<ServicePlan, 'frontends' | 'backends' | 'numbers'> {
  const numbering = new Numbering(before);
  const frontends: PlannedFrontend[] = [];
  const backends: PlannedBackend[] = [];
  const written = new Set<number>();
  const lists = new Map<Offer['backends'], { id: number; texts: readonly string[] }>();
  const left = { offers: 0, first: '' };
  const leaveOut = (offer: Offer) => {
    left.offers++;
    if (left.first === '') left.first = `${placeText(offer.key)} of ${offer.owner}`;
  };
  for (const offer of offers) {
    if (frontends.length >= limits.frontendsMax) {
      leaveOut(offer);
      continue;
    }
    let list = lists.get(offer.backends);
    if (list === undefined && offer.backends.length > 0) {
      const content = contentOf(offer.backends);
      if (!numbering.knows(content) && backends.length + offer.backends.length > limits.backendsMax) {
        leaveOut(offer);
        continue;
      }
      list = { id: numbering.of(content), texts: offer.backends.map(({ text }) => text) };
      lists.set(offer.backends, list);
    }
    const id = list?.id ?? 0;
    if (id > 0 && !written.has(id)) {
      written.add(id);
      for (const [slot, { address, port }] of offer.backends.entries())
        backends.push({ key: { serviceId: id, slot }, value: { address, port } });
    }
    const { key, kind, owner, flags, affinityS } = offer;
    const value = { id, count: offer.backends.length, flags, affinityS };
    frontends.push({ key, value, kind, owner, backends: list?.texts ?? [] });
  }
  if (left.offers > 0) findings.problems.push(crowding(left, limits));
  return { frontends, backends, numbers: numbering.numbers() };
}

function crowding(left: { offers: number; first: string }, limits: ServiceLimits): Problem {
  const message = `${left.offers} addresses of Services are not served by this node, from ${left.first} on: it holds ${limits.frontendsMax} of them and ${limits.backendsMax} endpoints at most`;
  return { severity: 'error', source: 'cni', line: 1, message };
}

/** One Service for each port. */
function settleChecks(
  checks: readonly { readonly check: HealthCheck; readonly sourced: SourcedObject }[],
  findings: Findings,
): readonly HealthCheck[] {
  const byPort = new Map<number, HealthCheck>();
  for (const { check, sourced } of checks) {
    const owner = byPort.get(check.port);
    if (owner === undefined) byPort.set(check.port, check);
    else {
      const message = `health check port ${check.port} is that of Service ${owner.namespace}/${owner.service} already`;
      findings.problem(sourced, 'error', ['spec', 'healthCheckNodePort'], message);
    }
  }
  return [...byPort.values()].sort((a, b) => a.port - b.port);
}

function frontendText({ address, port, protocol, scope }: FrontendKey): string {
  return `${address.toString('latin1')}${port}/${protocol}/${scope}`;
}

/** `10.96.0.1:443/TCP`, `node port 30080/TCP`. */
function placeText({ address, port, protocol }: FrontendKey): string {
  const suffix = `${port}/${protocolName(protocol)}`;
  const text = addressText(address);
  if (isNoAddress(address) || text === '0.0.0.0') return `node port ${suffix}`;
  return isMapped(address) ? `${text}:${suffix}` : `[${text}]:${suffix}`;
}
