import { canonicalAddress } from '../../common/address.ts';
import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import { keyOf, namespaceOf, objectsOf, recordOf, stringMap, textOf } from '../../model/read/meta.ts';
import { type OwnRecord, record } from './wire/records.ts';
import {
  addressRecord,
  CLUSTER_TTL_S,
  isLabel,
  type NameRecords,
  type ServiceRecords,
  serviceRecords,
} from './zone/service.ts';

/** Version of the Kubernetes DNS specification, which a cluster states (section 2.2). */
const SCHEMA_VERSION = '1.1.0';

export interface ZoneSettings {
  /** `cluster.local` */
  readonly clusterDomain: string;
  /** Where this server is asked: the addresses of the zone's name server. */
  readonly dnsAddresses: readonly string[];
}

/** All that the cluster's names say at one moment. Frozen: a change makes another one. */
export interface Zone {
  readonly clusterDomain: string;
  readonly soa: OwnRecord;
  /** Names that belong to no Service, by their labels before the cluster domain; the domain itself is ''. */
  readonly fixed: ReadonlyMap<string, NameRecords>;
  readonly namespaces: ReadonlySet<string>;
  /** By `namespace/name`. */
  readonly services: ReadonlyMap<string, ServiceRecords>;
  /** `namespace/address` of every Pod that has not ended. */
  readonly pods: ReadonlySet<string>;
  /** Names by address. */
  readonly reverse: ReadonlyMap<string, readonly string[]>;
  readonly problems: readonly string[];
}

interface Compiled {
  readonly service: KubeObject;
  readonly slices: readonly KubeObject[];
  /** Pods whose hostnames were asked for. */
  readonly pods: ReadonlyMap<string, KubeObject | undefined>;
  readonly records: ServiceRecords;
}

/**
 * Builds zones from objects. It remembers the last one's Services and compiles anew only those whose objects are others than
 * before; the result is the same as without memory.
 */
export class ZoneBuilder {
  readonly #settings: ZoneSettings;
  #compiled = new Map<string, Compiled>();

  constructor(settings: ZoneSettings) {
    this.#settings = { ...settings, clusterDomain: settings.clusterDomain.toLowerCase() };
  }

  /** `serial` is the zone's serial number (RFC 1035 section 3.3.13); it should grow. Never throws. */
  build(objects: readonly SourcedObject[], serial: number): Zone {
    const { clusterDomain } = this.#settings;
    const read = readObjects(objects);
    const compiled = new Map<string, Compiled>();
    const services = new Map<string, ServiceRecords>();
    const reverse = new Map<string, string[]>();
    const problems: string[] = [];
    for (const [key, service] of read.services) {
      const host = `${service.metadata.name}.${namespaceOf(service)}.svc.${clusterDomain}`.toLowerCase();
      const one = this.#compile(key, host, service, read);
      compiled.set(key, one);
      services.set(key, one.records);
      for (const { address, target } of one.records.reverse) {
        const names = reverse.get(address);
        if (names === undefined) reverse.set(address, [target]);
        else if (!names.includes(target)) names.push(target);
      }
      if (one.records.problem !== undefined) problems.push(`Service ${key}: ${one.records.problem}`);
    }
    this.#compiled = compiled;
    const soa = startOfAuthority(clusterDomain, serial);
    return Object.freeze({
      ...{ clusterDomain, soa, fixed: fixedNames(this.#settings, soa) },
      ...{ namespaces: read.namespaces, services, pods: read.podAddresses, reverse },
      problems: [...read.problems, ...problems],
    });
  }

  #compile(key: string, host: string, service: KubeObject, read: ReadObjects): Compiled {
    const slices = read.slices.get(key) ?? [];
    const before = this.#compiled.get(key);
    if (before !== undefined && isUnchanged(before, service, slices, read.pods)) return before;
    const pods = new Map<string, KubeObject | undefined>();
    const hostnameOf = (podKey: string) => {
      const pod = read.pods.get(podKey);
      pods.set(podKey, pod);
      const spec = recordOf(pod?.spec);
      return spec.subdomain === service.metadata.name ? textOf(spec.hostname) : undefined;
    };
    return { service, slices, pods, records: serviceRecords(service, { host, slices, hostnameOf }) };
  }
}

function isUnchanged(
  before: Compiled,
  service: KubeObject,
  slices: readonly KubeObject[],
  pods: ReadonlyMap<string, KubeObject>,
): boolean {
  return (
    before.service === service &&
    before.slices.length === slices.length &&
    before.slices.every((slice, index) => slice === slices[index]) &&
    [...before.pods].every(([key, pod]) => pods.get(key) === pod)
  );
}

interface ReadObjects {
  readonly services: ReadonlyMap<string, KubeObject>;
  readonly slices: ReadonlyMap<string, readonly KubeObject[]>;
  readonly pods: ReadonlyMap<string, KubeObject>;
  readonly namespaces: ReadonlySet<string>;
  readonly podAddresses: ReadonlySet<string>;
  readonly problems: readonly string[];
}

function readObjects(objects: readonly SourcedObject[]): ReadObjects {
  const services = new Map<string, KubeObject>();
  const slices = new Map<string, KubeObject[]>();
  const pods = new Map<string, KubeObject>();
  const namespaces = new Set<string>();
  const podAddresses = new Set<string>();
  const problems: string[] = [];
  for (const { object } of objects) {
    const kind = `${object.apiVersion}/${object.kind}`;
    if (kind === 'v1/Namespace') {
      namespaces.add(object.metadata.name.toLowerCase());
    } else if (kind === 'v1/Service') {
      const namespace = namespaceOf(object);
      if (!isLabel(object.metadata.name) || !isLabel(namespace)) {
        problems.push(`Service ${keyOf(object)}: a name has to be a DNS label, so it is not answered`);
        continue;
      }
      namespaces.add(namespace.toLowerCase());
      services.set(keyOf(object).toLowerCase(), object);
    } else if (kind === 'discovery.k8s.io/v1/EndpointSlice') {
      const service = stringMap(object.metadata.labels).get('kubernetes.io/service-name');
      if (service === undefined) continue;
      const key = `${namespaceOf(object)}/${service}`.toLowerCase();
      const same = slices.get(key);
      if (same === undefined) slices.set(key, [object]);
      else same.push(object);
    } else if (kind === 'v1/Pod') {
      readPod(object, pods, namespaces, podAddresses);
    }
  }
  return { services, slices, pods, namespaces, podAddresses, problems };
}

function readPod(
  object: KubeObject,
  pods: Map<string, KubeObject>,
  namespaces: Set<string>,
  podAddresses: Set<string>,
): void {
  const status = recordOf(object.status);
  const namespace = namespaceOf(object).toLowerCase();
  namespaces.add(namespace);
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return;
  pods.set(keyOf(object), object);
  for (const ip of [status.podIP, ...objectsOf(status.podIPs).map((one) => one.ip)]) {
    const address = canonicalAddress(ip);
    if (address !== undefined) podAddresses.add(`${namespace}/${address}`);
  }
}

/** Times as CoreDNS has them; the minimum is what "no such name" is remembered for (RFC 2308 section 4). */
function startOfAuthority(clusterDomain: string, serial: number): OwnRecord {
  return record(clusterDomain, 'SOA', CLUSTER_TTL_S, {
    mname: `ns.dns.${clusterDomain}`,
    rname: `hostmaster.${clusterDomain}`,
    serial: serial >>> 0,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: CLUSTER_TTL_S,
  });
}

function fixedNames(settings: ZoneSettings, soa: OwnRecord): ReadonlyMap<string, NameRecords> {
  const { clusterDomain } = settings;
  const server = `ns.dns.${clusterDomain}`;
  const addresses = settings.dnsAddresses
    .map(canonicalAddress)
    .filter((address) => address !== undefined)
    .map((address) => addressRecord(server, address));
  const at = (...records: OwnRecord[]): NameRecords => ({ records, additionals: [] });
  return new Map([
    ['', { records: [soa, record(clusterDomain, 'NS', CLUSTER_TTL_S, server)], additionals: addresses }],
    ['dns-version', at(record(`dns-version.${clusterDomain}`, 'TXT', CLUSTER_TTL_S, SCHEMA_VERSION))],
    ['ns.dns', at(...addresses)],
    ['dns', at()],
    ['svc', at()],
    ['pod', at()],
  ]);
}
