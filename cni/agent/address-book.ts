import { addressBytes, addressText, anyAddress, prefixHolds } from '../../common/address.ts';
import type { DropEnd } from '../../common/pod-network.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { createdAtMs, keyOf, textOf } from '../../model/read/meta.ts';
import { SCOPE } from '../maps/constants.ts';
import { statusIps } from '../policy/pods.ts';
import type { ServicePlan } from '../services/plan.ts';
import type { LocalPod } from './local-pods.ts';
import type { ClusterNode } from './nodes.ts';

/** What addresses are named by. Holds references only: a book costs nothing until it is asked. */
export interface AddressSources {
  readonly localPods: readonly Pick<LocalPod, 'namespace' | 'name' | 'ips'>[];
  readonly pods: readonly SourcedObject[];
  readonly nodes: ReadonlyMap<string, ClusterNode>;
  readonly services: Pick<ServicePlan, 'frontends'>;
  readonly controlPlane: readonly string[];
}

export type AddressName = Pick<DropEnd, 'kind' | 'name'>;

/** A Pod's claim to its addresses, worked out once for each version of the object. */
interface Claim {
  readonly key: string;
  readonly ips: readonly string[];
  readonly deleted: boolean;
  readonly createdMs: number;
}

const claims = new WeakMap<SourcedObject, Claim>();

/** Who had which address at one time. */
export class AddressBook {
  readonly #sources: AddressSources;
  #pods: ReadonlyMap<string, string> | undefined;
  #others: ReadonlyMap<string, AddressName> | undefined;
  #frontends: ReadonlyMap<string, string> | undefined;

  constructor(sources: AddressSources) {
    this.#sources = sources;
  }

  /** `namespace/name` → addresses is what `podAddresses` says; this is the other way round. */
  podAt(ip: string): string | undefined {
    this.#pods ??= podsByAddress(this.#sources);
    return this.#pods.get(ip);
  }

  /** The addresses of its own that a pod has, IPv4 or IPv6 first as it names them. */
  podAddresses(key: string): readonly string[] {
    const { localPods, pods } = this.#sources;
    const local = localPods.find(({ namespace, name }) => `${namespace}/${name}` === key);
    if (local !== undefined) return local.ips;
    const object = pods.find((one) => claimOf(one).key === key);
    return object === undefined ? [] : claimOf(object).ips.filter((ip) => this.podAt(ip) === key);
  }

  /** Who has an address, or serves a port there. `protocol` is an IANA number. */
  find(ip: string, port = 0, protocol = 0): AddressName {
    const pod = this.podAt(ip);
    if (pod !== undefined) return { kind: 'pod', name: pod };
    this.#others ??= othersByAddress(this.#sources);
    const other = this.#others.get(ip);
    const owner = this.#frontendAt(ip, port, protocol, other?.kind === 'node');
    if (owner !== undefined && other?.kind !== 'dns') return owner;
    if (other !== undefined) return other;
    const bytes = addressBytes(ip);
    const isPods = [...this.#sources.nodes.values()].some(({ podBlocks }) =>
      podBlocks.some((block) => prefixHolds(block, bytes)),
    );
    return { kind: isPods ? 'unknown' : 'world', name: '' };
  }

  /** A frontend of every address of the node counts at a node's address only. */
  #frontendAt(ip: string, port: number, protocol: number, ofNode: boolean): AddressName | undefined {
    if (port === 0) return undefined;
    this.#frontends ??= ownersByFrontend(this.#sources.services);
    const every = addressText(anyAddress(ip.includes(':') ? 6 : 4));
    const owner =
      this.#frontends.get(`${ip} ${port} ${protocol}`) ??
      (ofNode ? this.#frontends.get(`${every} ${port} ${protocol}`) : undefined);
    if (owner === undefined) return undefined;
    const [kind = '', name = ''] = owner.split(' ');
    return { kind: kind === 'Pod' ? 'pod' : 'service', name };
  }
}

function podsByAddress({ localPods, pods }: AddressSources): ReadonlyMap<string, string> {
  const winners = new Map<string, Claim>();
  for (const one of pods) {
    const claim = claimOf(one);
    for (const ip of claim.ips) if (outranks(claim, winners.get(ip))) winners.set(ip, claim);
  }
  const found = new Map<string, string>();
  for (const [ip, { key }] of winners) found.set(ip, key);
  for (const { namespace, name, ips } of localPods)
    for (const ip of ips) found.set(ip, `${namespace}/${name}`);
  return found;
}

/** As the policies' own rule for two pods that claim one address (`policy/pods.ts`). */
function outranks(claim: Claim, other: Claim | undefined): boolean {
  if (other === undefined) return true;
  if (claim.deleted !== other.deleted) return other.deleted;
  if (claim.createdMs !== other.createdMs) return claim.createdMs > other.createdMs;
  return claim.key < other.key;
}

function claimOf(one: SourcedObject): Claim {
  const known = claims.get(one);
  if (known !== undefined) return known;
  const { object } = one;
  const claim = {
    ...{ key: keyOf(object), ips: statusIps(object), createdMs: createdAtMs(object) },
    deleted: textOf(object.metadata.deletionTimestamp) !== undefined,
  };
  claims.set(one, claim);
  return claim;
}

function othersByAddress(sources: AddressSources): ReadonlyMap<string, AddressName> {
  const found = new Map<string, AddressName>();
  for (const ip of sources.controlPlane) found.set(ip, { kind: 'control-plane', name: '' });
  for (const { name, addresses } of sources.nodes.values())
    for (const ip of addresses) found.set(addressText(addressBytes(ip)), { kind: 'node', name });
  for (const { kind, key } of sources.services.frontends)
    if (kind === 'dns') found.set(addressText(key.address), { kind: 'dns', name: '' });
  return found;
}

/** Inside and outside are served by the same owner; the first of two that claim a port has it. */
function ownersByFrontend({ frontends }: Pick<ServicePlan, 'frontends'>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { key, owner } of frontends) {
    const text = `${addressText(key.address)} ${key.port} ${key.protocol}`;
    if (!found.has(text) || key.scope === SCOPE.INTERNAL) found.set(text, owner);
  }
  return found;
}
