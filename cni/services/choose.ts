import { compareText } from '../../model/route/order.ts';
import type { BackendAddress } from './plan.ts';
import type { PortSpec, ServiceSpec } from './service-spec.ts';
import type { Slice, SliceEndpoint } from './slices.ts';

/** An endpoint at the port that one port of a Service leads to. */
interface Candidate extends BackendAddress {
  readonly endpoint: SliceEndpoint;
  readonly ready: boolean;
}

export interface Place {
  readonly node: string;
  readonly zone: string | undefined;
  /** The cluster's other nodes. */
  readonly others: readonly OtherNode[];
}

export interface OtherNode {
  readonly name: string;
  readonly addresses: readonly string[];
}

export interface Choice {
  /** For traffic policy Cluster. */
  readonly cluster: readonly BackendAddress[];
  /** For traffic policy Local: on this node only. */
  readonly local: readonly BackendAddress[];
  /** The same on another node. */
  localOn(node: string): readonly BackendAddress[];
  /** Ready ones on this node. */
  readonly readyHere: readonly BackendAddress[];
}

/**
 * Who answers at a port of a Service in one family, as "Virtual IPs and Service Proxies" of the Kubernetes reference says:
 * ready endpoints, near ones where hints say so; where nobody is ready, those that still serve while they terminate, for
 * each traffic policy by itself.
 */
export function chooseEndpoints(
  service: ServiceSpec,
  port: PortSpec,
  slices: readonly Slice[],
  place: Place,
): Choice {
  const all = candidatesOf(service, port, slices);
  const ready = all.filter((one) => one.ready);
  const leaving = all.filter(({ endpoint }) => endpoint.serving && endpoint.terminating);
  const near = nearOnes(ready, service.preferred, place);
  const on = (of: readonly Candidate[], node: string) => of.filter(({ endpoint }) => endpoint.node === node);
  const readyHere = on(ready, place.node);
  const localOn = (node: string) => {
    const readyThere = on(ready, node);
    return readyThere.length > 0 ? readyThere : on(leaving, node);
  };
  return { cluster: near.length > 0 ? near : leaving, local: localOn(place.node), localOn, readyHere };
}

/** By address and port, each once; of two that differ, the ready one. In the order of their text. */
function candidatesOf(service: ServiceSpec, port: PortSpec, slices: readonly Slice[]): readonly Candidate[] {
  const found = new Map<string, Candidate>();
  for (const { ports, endpoints, family } of slices) {
    for (const target of ports) {
      if (target.name !== port.name || target.protocol !== port.protocol) continue;
      for (const endpoint of endpoints) {
        const text = family === 4 ? `${endpoint.text}:${target.port}` : `[${endpoint.text}]:${target.port}`;
        const ready = endpoint.ready || service.publishNotReady;
        if (found.get(text)?.ready === true) continue;
        found.set(text, { text, address: endpoint.address, port: target.port, endpoint, ready });
      }
    }
  }
  return [...found.values()].sort((a, b) => compareText(a.text, b.text));
}

/**
 * Hints of a topology hold only where every ready endpoint has some and somebody is meant for this place; otherwise all
 * ready endpoints serve ("Topology Aware Routing", safeguards). Those of nodes come before those of zones.
 */
function nearOnes(
  ready: readonly Candidate[],
  preferred: ServiceSpec['preferred'],
  place: Place,
): readonly Candidate[] {
  const hints = hintsOf(ready, preferred);
  if (hints === undefined) return ready;
  const forNode = ready.filter((_, index) => hints[index]?.nodes.includes(place.node));
  if (forNode.length > 0 && hints.every(({ nodes }) => nodes.length > 0)) return forNode;
  const { zone } = place;
  if (zone === undefined) return ready;
  const forZone = ready.filter((_, index) => hints[index]?.zones.includes(zone));
  if (forZone.length > 0 && hints.every(({ zones }) => zones.length > 0)) return forZone;
  return ready;
}

interface Hints {
  readonly nodes: readonly string[];
  readonly zones: readonly string[];
}

/**
 * Those of the slices. Where there is none at all and the Service has a `trafficDistribution`, those that the EndpointSlice
 * controller would have given: a slice written by hand need not repeat them.
 */
function hintsOf(
  ready: readonly Candidate[],
  preferred: ServiceSpec['preferred'],
): readonly Hints[] | undefined {
  const given = ready.some(({ endpoint }) => endpoint.nodeHints.length + endpoint.zoneHints.length > 0);
  if (given) return ready.map(({ endpoint }) => ({ nodes: endpoint.nodeHints, zones: endpoint.zoneHints }));
  if (preferred === undefined) return undefined;
  return ready.map(({ endpoint: { node, zone } }) => ({
    nodes: preferred === 'node' && node !== undefined ? [node] : [],
    zones: zone === undefined ? [] : [zone],
  }));
}
