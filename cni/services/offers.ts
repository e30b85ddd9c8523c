import { isIP } from 'node:net';
import { addressBytes, anyAddress } from '../../common/address.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { Findings } from '../../model/status.ts';
import { PROTOCOL, SCOPE, SERVICE } from '../maps/constants.ts';
import { type Choice, chooseEndpoints, type Place } from './choose.ts';
import type { FrontendKind, HealthCheck, Offer, ServiceLimits, ServiceOffers } from './plan.ts';
import { type AddressAt, type PortSpec, readService, type ServiceSpec } from './service-spec.ts';
import type { Slice } from './slices.ts';

type Family = 4 | 6;
type Part = Pick<Offer, 'backends' | 'field'> & { readonly elsewhere?: boolean };

/** Every frontend that a Service asks for on this node. */
export function offersOf(
  sourced: SourcedObject,
  slices: readonly Slice[],
  place: Place,
  limits: ServiceLimits,
): ServiceOffers {
  const { spec, problems } = readService(sourced);
  if (spec === undefined) return { offers: [], healthCheck: undefined, problems };
  const findings = new Findings();
  findings.problems.push(...problems);
  const offers: Offer[] = [];
  const readyHere = { 4: new Set<string>(), 6: new Set<string>() };
  const crowded = new Set<number>();
  for (const port of spec.ports) {
    for (const family of familiesOf(spec)) {
      const own = slices.filter((slice) => slice.family === family);
      const choice = chooseEndpoints(spec, port, own, place);
      for (const { address } of choice.readyHere) readyHere[family].add(address.toString('latin1'));
      const bounded = within(choice, limits.backendsPerServiceMax);
      if (bounded !== choice) crowded.add(port.port);
      for (const offer of offersOfPort(spec, port, family, bounded)) offers.push(offer);
      for (const offer of remoteNodePorts(spec, port, family, bounded, place)) offers.push(offer);
    }
  }
  for (const port of crowded) {
    const message = `port ${port} has more than ${limits.backendsPerServiceMax} endpoints: this node uses the first ${limits.backendsPerServiceMax} of them in the order of their addresses`;
    findings.problem(sourced, 'warning', ['spec', 'ports'], message);
  }
  reportUnserved(sourced, spec, findings);
  // An endpoint with an address of each family is one.
  const localEndpoints = Math.max(readyHere[4].size, readyHere[6].size);
  return { offers, healthCheck: healthCheckOf(spec, localEndpoints), problems: findings.problems };
}

/** Those of the cluster IPs: another address of a family that the Service doesn't have leads nowhere. */
function familiesOf(spec: ServiceSpec): readonly Family[] {
  return [...new Set(spec.clusterIps.map(({ family }) => family))];
}

function within(choice: Choice, max: number): Choice {
  if (choice.cluster.length <= max && choice.local.length <= max) return choice;
  const localOn = (node: string) => choice.localOn(node).slice(0, max);
  return { ...choice, cluster: choice.cluster.slice(0, max), local: choice.local.slice(0, max), localOn };
}

/**
 * Callers inside the cluster reach every address of a Service by traffic policy Cluster but the cluster IP, which has a
 * policy of its own; callers outside by `externalTrafficPolicy` (kube-proxy's short circuit for its own pods and nodes), as are those
 * who call a node port at another node's address (see `remoteNodePorts`).
 * Where that is Local and only other nodes have endpoints, packets are dropped as kube-proxy does, so that a client or its load
 * balancer tries another node; where nobody has any they are refused.
 */
function offersOfPort(spec: ServiceSpec, port: PortSpec, family: Family, choice: Choice): readonly Offer[] {
  const offers: Offer[] = [];
  const add = (kind: FrontendKind, address: AddressAt['address'], scope: number, part: Part) => {
    const { elsewhere = false, ...rest } = part;
    const key = {
      address,
      port: kind === 'node-port' ? port.nodePort : port.port,
      protocol: PROTOCOL[port.protocol],
      scope,
    };
    const sticky = spec.affinityS > 0;
    const flags = (sticky ? SERVICE.AFFINITY : 0) | (elsewhere ? SERVICE.ELSEWHERE : 0);
    offers.push({ kind, owner: spec.owner, key, flags, affinityS: spec.affinityS, ...rest });
  };
  const addBoth = (
    kind: FrontendKind,
    address: AddressAt['address'],
    field: Part['field'],
    open: boolean,
  ) => {
    const outside = spec.externalLocal ? choice.local : choice.cluster;
    add(kind, address, SCOPE.INTERNAL, { backends: open ? choice.cluster : [], field });
    const elsewhere = open && outside.length === 0 && choice.cluster.length > 0;
    add(kind, address, SCOPE.EXTERNAL, { backends: open ? outside : [], field, elsewhere });
  };
  const ofFamily = (all: readonly AddressAt[]) => all.filter((one) => one.family === family);
  for (const { address, path } of ofFamily(spec.clusterIps)) {
    const backends = spec.internalLocal ? choice.local : choice.cluster;
    add('cluster-ip', address, SCOPE.INTERNAL, { backends, field: path });
  }
  if (port.nodePort > 0) addBoth('node-port', anyAddress(family), [...port.path, 'nodePort'], true);
  const open = !spec.restricted.has(family);
  for (const { address, path } of ofFamily(spec.loadBalancerIps))
    addBoth('load-balancer', address, path, open);
  for (const { address, path } of ofFamily(spec.externalIps)) addBoth('external-ip', address, path, true);
  return offers;
}

/**
 * `externalTrafficPolicy: Local`: at another node's address a caller of this node is outside of that node, and reaches its endpoints
 * alone. Where it has none, callers are refused at once (kube-proxy lets them wait).
 */
function remoteNodePorts(
  { externalLocal, owner, affinityS }: ServiceSpec,
  { nodePort, protocol, path }: PortSpec,
  family: Family,
  choice: Choice,
  { others }: Place,
): readonly Offer[] {
  if (!externalLocal || nodePort === 0) return [];
  return others.flatMap(({ name, addresses }) => {
    const backends = choice.localOn(name);
    return addresses
      .filter((one) => isIP(one) === family)
      .map((one): Offer => {
        const key = { address: addressBytes(one), port: nodePort, protocol: PROTOCOL[protocol] };
        return {
          ...{ kind: 'remote-node-port', owner, field: [...path, 'nodePort'], affinityS, backends },
          key: { ...key, scope: SCOPE.INTERNAL },
          flags: affinityS > 0 ? SERVICE.AFFINITY : 0,
        };
      });
  });
}

/** A load balancer asks nodes which of them have endpoints where it must not send to the others. */
function healthCheckOf(spec: ServiceSpec, localEndpoints: number): HealthCheck | undefined {
  if (spec.healthCheckPort === 0) return undefined;
  const { namespace, name: service, healthCheckPort: port } = spec;
  return { port, namespace, service, localEndpoints };
}

/** Fields whose promise can't be kept on this node. */
function reportUnserved(sourced: SourcedObject, spec: ServiceSpec, findings: Findings): void {
  const families = familiesOf(spec);
  for (const { family, path } of [...spec.loadBalancerIps, ...spec.externalIps]) {
    if (families.includes(family)) continue;
    const message = `leads nowhere: the Service has no IPv${family} cluster IP, so that no endpoint is IPv${family}`;
    findings.problem(sourced, 'warning', path, message);
  }
  if (spec.loadBalancerIps.some(({ family }) => spec.restricted.has(family))) {
    const message =
      'loadBalancerSourceRanges is not enforced by the nodes: rather than let everybody in, they refuse connections to the addresses of the load balancer; restrict clients at the balancer itself, or by a NetworkPolicy with ipBlock, and take the field away';
    findings.problem(sourced, 'error', spec.restrictedPath, message);
  }
}
