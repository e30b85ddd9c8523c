import { CLUSTER_DOMAIN } from '../../common/contracts.ts';
import { RouteConfiguration } from '../../common/gen/envoy/config/route/v3/route.ts';
import { serviceHost } from '../../common/names.ts';
import { RESOURCE, TYPE } from '../../common/wire/types.ts';
import type { Destination } from '../../model/snapshot.ts';
import { virtualHost } from './destination.ts';
import { type EncodedResource, encodeResource } from './encoding.ts';
import type { HashKeyOf } from './route.ts';

/** For a stock Envoy: every destination that a namespace sees as one virtual host of one route configuration. */
export function wildcardRoutes(
  destinations: Iterable<Destination>,
  clientNamespace: string,
  hashKeyOf: HashKeyOf,
): EncodedResource {
  const all = [...destinations];
  const portless = portlessOwners(all);
  const taken = new Set<string>();
  const virtualHosts = [];
  for (const destination of all) {
    const domains = domainsOf(destination, clientNamespace, portless.has(destination)).filter(
      (domain) => !taken.has(domain),
    );
    for (const domain of domains) taken.add(domain);
    if (domains.length > 0) virtualHosts.push(virtualHost(destination, domains, hashKeyOf));
  }
  return encodeResource(
    TYPE.route,
    RESOURCE.outbound,
    [],
    RouteConfiguration,
    RouteConfiguration.fromPartial({ name: RESOURCE.outbound, virtualHosts }),
  );
}

/** A Host without port means port 80 (RFC 9110, section 4.2.1); a Service without port 80 is meant by its lowest port. */
function portlessOwners(destinations: readonly Destination[]): Set<Destination> {
  const owners = new Map<string, Destination>();
  for (const destination of destinations) {
    const service = `${destination.namespace}/${destination.service}`;
    const owner = owners.get(service);
    if (owner === undefined || rank(destination) < rank(owner)) owners.set(service, destination);
  }
  return new Set(owners.values());
}

function rank(destination: Destination): number {
  return destination.port === 80 ? 0 : destination.port;
}

function domainsOf(destination: Destination, clientNamespace: string, portless: boolean): string[] {
  const { namespace, service, port } = destination;
  const full = serviceHost(namespace, service);
  const names = [full, full.slice(0, -(CLUSTER_DOMAIN.length + 1)), `${service}.${namespace}`];
  if (namespace === clientNamespace) names.push(service);
  const domains = names.map((name) => `${name}:${port}`);
  if (portless) domains.push(...names);
  for (const address of destination.addresses) {
    domains.push(address);
    if (portless) domains.push(address.slice(0, address.lastIndexOf(':')));
  }
  return domains;
}
