import { canonicalAddress } from '../../../common/address.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { namespaceOf, objectsOf, portOf, recordOf, textOf } from '../../../model/read/meta.ts';
import { isWritableName } from '../wire/names.ts';
import { type OwnRecord, record } from '../wire/records.ts';

/** TTL of the cluster's records, in seconds, as CoreDNS has it: what changed is seen soon. */
export const CLUSTER_TTL_S = 5;
const SRV_WEIGHT = 100;

/** What stands at one name. A name without records exists all the same (RFC 8020): its answer is "no data". */
export interface NameRecords {
  readonly records: readonly OwnRecord[];
  /** Of an SRV's targets. */
  readonly additionals: readonly OwnRecord[];
}

export interface ReverseRecord {
  /** As `addressText` writes it. */
  readonly address: string;
  readonly target: string;
}

/** Everything the specification has for one Service. */
export interface ServiceRecords {
  /** At the Service's own name; undefined: there is none (a headless Service without ready endpoints). */
  readonly own: NameRecords | undefined;
  /** An ExternalName, lower case, without the last dot. */
  readonly alias: string | undefined;
  /** By the labels before the Service's name: `_http._tcp`, `_tcp`, `web-0`. */
  readonly below: ReadonlyMap<string, NameRecords>;
  readonly reverse: readonly ReverseRecord[];
  /** Why a part of the Service has no record, in words for its author. */
  readonly problem: string | undefined;
}

interface ServiceContext {
  /** `web.shop.svc.cluster.local` */
  readonly host: string;
  readonly slices: readonly KubeObject[];
  /** A Pod's `spec.hostname` where its `spec.subdomain` is this Service. */
  hostnameOf(podKey: string): string | undefined;
}

const NONE: ServiceRecords = {
  own: { records: [], additionals: [] },
  alias: undefined,
  below: new Map(),
  reverse: [],
  problem: undefined,
};

/** The records of a Service (Kubernetes DNS-Based Service Discovery 1.1, sections 2.3 to 2.5). Never throws. */
export function serviceRecords(service: KubeObject, context: ServiceContext): ServiceRecords {
  const spec = recordOf(service.spec);
  if (spec.type === 'ExternalName') return externalName(textOf(spec.externalName));
  const listed = Array.isArray(spec.clusterIPs) ? spec.clusterIPs : [];
  const ips = [...new Set([spec.clusterIP, ...listed].map(textOf).filter((ip) => ip !== undefined))];
  return ips.includes('None') ? headless(service, context) : clusterIp(spec, ips, context.host);
}

function externalName(written: string | undefined): ServiceRecords {
  const target = (written ?? '').replace(/\.$/, '').toLowerCase();
  if (target !== '' && isWritableName(target)) return { ...NONE, own: undefined, alias: target };
  return {
    ...NONE,
    problem: `externalName ${JSON.stringify(written ?? '')} is no DNS name, so it is not answered`,
  };
}

function clusterIp(
  spec: Readonly<Record<string, unknown>>,
  ips: readonly string[],
  host: string,
): ServiceRecords {
  const addresses = ips.map(canonicalAddress).filter((ip) => ip !== undefined);
  const records = addresses.map((ip) => addressRecord(host, ip));
  const below = new BelowNames(host);
  for (const entry of objectsOf(spec.ports)) {
    const port = portOf(entry.port);
    if (port !== undefined) below.addPort(textOf(entry.name), entry.protocol, port, host, records);
  }
  return {
    ...NONE,
    own: { records, additionals: [] },
    below: below.names(),
    reverse: addresses.map((address) => ({ address, target: host })),
  };
}

function headless(service: KubeObject, context: ServiceContext): ServiceRecords {
  const { host, slices } = context;
  const publishNotReady = recordOf(service.spec).publishNotReadyAddresses === true;
  const below = new BelowNames(host);
  const own = new Map<string, OwnRecord>();
  const reverse: ReverseRecord[] = [];
  for (const slice of slices) {
    if (slice.addressType === 'FQDN') continue;
    const ports = objectsOf(slice.ports);
    for (const entry of objectsOf(slice.endpoints)) {
      if (!publishNotReady && recordOf(entry.conditions).ready === false) continue;
      const hostname = hostnameOf(entry, service, context);
      for (const listed of Array.isArray(entry.addresses) ? entry.addresses : []) {
        const address = canonicalAddress(listed);
        if (address === undefined) continue;
        const target = `${hostname ?? dashed(address)}.${host}`;
        const known = below.addAddress(target, address);
        if (!own.has(address)) own.set(address, addressRecord(host, address));
        if (!known) reverse.push({ address, target });
        for (const { name, protocol, port } of ports) {
          const number = portOf(port);
          if (number !== undefined) below.addPort(textOf(name), protocol, number, target, []);
        }
      }
    }
  }
  below.completeTargets();
  const exists = own.size > 0;
  return {
    ...NONE,
    own: exists ? { records: [...own.values()], additionals: [] } : undefined,
    below: below.names(),
    reverse,
  };
}

/** The endpoint's own hostname (a slice written without it: its Pod's), or undefined. */
function hostnameOf(
  entry: Readonly<Record<string, unknown>>,
  service: KubeObject,
  context: ServiceContext,
): string | undefined {
  const ref = recordOf(entry.targetRef);
  const podName = ref.kind === 'Pod' ? textOf(ref.name) : undefined;
  const podKey = `${textOf(ref.namespace) ?? namespaceOf(service)}/${podName ?? ''}`;
  const name = textOf(entry.hostname) ?? (podName === undefined ? undefined : context.hostnameOf(podKey));
  return name !== undefined && isLabel(name) ? name.toLowerCase() : undefined;
}

/** Collects the names below a Service's. */
class BelowNames {
  readonly #host: string;
  readonly #found = new Map<string, { records: OwnRecord[]; additionals: OwnRecord[]; seen: Set<string> }>();

  constructor(host: string) {
    this.#host = host;
  }

  #at(labels: string) {
    let one = this.#found.get(labels);
    if (one === undefined) {
      one = { records: [], additionals: [], seen: new Set() };
      this.#found.set(labels, one);
    }
    return one;
  }

  /** False where the name didn't have that address before. */
  addAddress(target: string, address: string): boolean {
    const one = this.#at(target.slice(0, -this.#host.length - 1));
    if (one.seen.has(address)) return true;
    one.seen.add(address);
    one.records.push(addressRecord(target, address));
    return false;
  }

  /** A port without a name has no SRV record (section 2.3.2). */
  addPort(
    written: string | undefined,
    protocol: unknown,
    port: number,
    target: string,
    addresses: readonly OwnRecord[],
  ): void {
    const name = written?.toLowerCase();
    const transport = `_${typeof protocol === 'string' ? protocol.toLowerCase() : 'tcp'}`;
    if (name === undefined || !isLabel(name) || !/^_(tcp|udp|sctp)$/.test(transport)) return;
    const labels = `_${name}.${transport}`;
    this.#at(transport);
    const one = this.#at(labels);
    const unique = `${port} ${target}`;
    if (one.seen.has(unique)) return;
    one.seen.add(unique);
    const data = { priority: 0, weight: SRV_WEIGHT, port, target };
    one.records.push(record(`${labels}.${this.#host}`, 'SRV', CLUSTER_TTL_S, data));
    one.additionals.push(...addresses);
  }

  /** Adds the addresses of SRV targets that stand below the same Service, once they are all known. */
  completeTargets(): void {
    for (const one of this.#found.values()) {
      const targets = new Set<string>();
      for (const { typeName, data } of one.records) {
        if (typeName === 'SRV') targets.add((data as { target: string }).target);
      }
      for (const target of targets) {
        one.additionals.push(...this.#at(target.slice(0, -this.#host.length - 1)).records);
      }
    }
  }

  names(): ReadonlyMap<string, NameRecords> {
    return new Map(
      [...this.#found].map(([labels, { records, additionals }]) => [labels, { records, additionals }]),
    );
  }
}

export function addressRecord(name: string, address: string): OwnRecord {
  return record(name, address.includes(':') ? 'AAAA' : 'A', CLUSTER_TTL_S, address);
}

/** `10-244-1-3`, `fd10-244--3`: an address as a label. A dash at an end, which no host name has, gets a zero. */
function dashed(address: string): string {
  return address.replaceAll(/[.:]/g, '-').replace(/^-/, '0-').replace(/-$/, '-0');
}

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/i;

export function isLabel(text: string): boolean {
  return LABEL.test(text);
}
