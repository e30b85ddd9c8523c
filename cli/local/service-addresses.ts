import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { KubeObject } from '../../model/objects.ts';
import { listAt, numberAt, textAt } from '../kube/fields.ts';
import type { NetworkKind } from '../network/pod-network.ts';

export type IpFamily = 'IPv4' | 'IPv6';

/** What the API server fills in of a Service. */
export interface AssignedAddresses {
  /** The first family's first; `None` alone for a headless Service; none for an ExternalName. */
  readonly clusterIps: readonly string[];
  readonly families: readonly IpFamily[];
  /** By the index of the port in the Service. */
  readonly nodePorts: ReadonlyMap<number, number>;
}

/** The range that the API server takes node ports from by default. */
const NODE_PORTS = { from: 30_000, count: 2_768 } as const;
const TYPES_WITH_NODE_PORTS: readonly (string | undefined)[] = ['NodePort', 'LoadBalancer'];
/** 10.96.0.1 to .10 are the API server's and the DNS server's by custom, in IPv6 as well. */
const reservedHosts = 10;
const hostsMax = 0xffff;

/**
 * Cluster IPs of 10.96.0.0/16 and fd10:96::/112, and node ports: those that a Service asks for, else one that its name
 * leads to, else the next free. They stay as long as their Service does. Loopback mode has IPv4 and no node ports.
 */
export class ServiceAddresses {
  readonly #kind: NetworkKind;
  readonly #byService = new Map<string, AssignedAddresses>();

  constructor(kind: NetworkKind) {
    this.#kind = kind;
  }

  assign(services: readonly KubeObject[]): void {
    const before = new Map(this.#byService);
    this.#byService.clear();
    const taken = new Set<string>();
    // What is asked for comes before what is chosen, whichever Service is looked at first.
    for (const service of services) for (const ip of askedFor(service)) taken.add(ip);
    for (const service of services)
      for (const port of listAt(service.spec, 'ports')) taken.add(String(numberAt(port, 'nodePort') ?? ''));
    // Then those that have addresses: a new Service must not be given one of them.
    const isNew = (service: KubeObject) => Number(!before.has(nameOf(service)));
    for (const service of services.toSorted((a, b) => isNew(a) - isNew(b))) {
      const name = nameOf(service);
      const known = before.get(name);
      const families = familiesOf(service, this.#kind);
      const clusterIps = this.#clusterIps(service, families, known?.clusterIps ?? [], taken);
      const nodePorts = this.#nodePorts(service, known?.nodePorts ?? new Map(), taken);
      this.#byService.set(name, { clusterIps, families, nodePorts });
    }
  }

  of(service: KubeObject): AssignedAddresses {
    return this.#byService.get(nameOf(service)) ?? { clusterIps: [], families: [], nodePorts: new Map() };
  }

  #clusterIps(
    service: KubeObject,
    families: readonly IpFamily[],
    known: readonly string[],
    taken: Set<string>,
  ): readonly string[] {
    if (textAt(service.spec, 'type') === 'ExternalName') return [];
    const asked = askedFor(service);
    if (asked[0] === 'None') return ['None'];
    return families.flatMap((family) => {
      const ofFamily = (ip: string) => isIPv6(ip) === (family === 'IPv6');
      const kept = known.find((ip) => ofFamily(ip) && !taken.has(ip));
      const ip = asked.find(ofFamily) ?? kept ?? freeIp(nameOf(service), family, taken);
      if (ip === undefined) return [];
      taken.add(ip);
      return [ip];
    });
  }

  #nodePorts(
    service: KubeObject,
    known: ReadonlyMap<number, number>,
    taken: Set<string>,
  ): ReadonlyMap<number, number> {
    const assigned = new Map<number, number>();
    const type = textAt(service.spec, 'type');
    if (this.#kind === 'loopback' || !TYPES_WITH_NODE_PORTS.includes(type)) return assigned;
    for (const [index, port] of listAt(service.spec, 'ports').entries()) {
      const before = known.get(index);
      const kept = before !== undefined && !taken.has(String(before)) ? before : undefined;
      const chosen = numberAt(port, 'nodePort') || kept || freeNodePort(`${nameOf(service)}#${index}`, taken);
      if (chosen === undefined) continue;
      taken.add(String(chosen));
      assigned.set(index, chosen);
    }
    return assigned;
  }
}

function askedFor(service: KubeObject): readonly string[] {
  const several = listAt(service.spec, 'clusterIPs').map(String);
  const one = textAt(service.spec, 'clusterIP');
  return several.length > 0 ? several : one === undefined || one === '' ? [] : [one];
}

/** Kubernetes, "IPv4/IPv6 dual-stack": one family unless more is asked for, and then the first listed is the first. */
function familiesOf(service: KubeObject, kind: NetworkKind): readonly IpFamily[] {
  if (kind === 'loopback') return ['IPv4'];
  const listed = listAt(service.spec, 'ipFamilies').flatMap((word): IpFamily[] =>
    word === 'IPv4' || word === 'IPv6' ? [word] : [],
  );
  const ips = askedFor(service).filter((ip) => ip !== 'None');
  const asked = ips.map((ip): IpFamily => (isIPv6(ip) ? 'IPv6' : 'IPv4'));
  const families = listed.length > 0 ? listed : asked.length > 0 ? asked : (['IPv4'] as const);
  const policy = textAt(service.spec, 'ipFamilyPolicy') ?? 'SingleStack';
  if (policy === 'SingleStack' || families.length > 1) return families;
  return [...families, families[0] === 'IPv4' ? 'IPv6' : 'IPv4'];
}

function freeIp(name: string, family: IpFamily, taken: ReadonlySet<string>): string | undefined {
  const start = numberFrom(name);
  for (let step = 0; step < hostsMax; step++) {
    const host = (start + step) & hostsMax;
    if (host <= reservedHosts || host === hostsMax) continue;
    const ip = family === 'IPv4' ? `10.96.${host >> 8}.${host & 0xff}` : `fd10:96::${host.toString(16)}`;
    if (!taken.has(ip)) return ip;
  }
  return undefined;
}

function freeNodePort(name: string, taken: ReadonlySet<string>): number | undefined {
  const start = numberFrom(name);
  for (let step = 0; step < NODE_PORTS.count; step++) {
    const port = NODE_PORTS.from + ((start + step) % NODE_PORTS.count);
    if (!taken.has(String(port))) return port;
  }
  return undefined;
}

function numberFrom(name: string): number {
  return createHash('sha256').update(name).digest().readUInt16BE(0);
}

function nameOf(service: KubeObject): string {
  return `${service.metadata.namespace ?? 'default'}/${service.metadata.name}`;
}
