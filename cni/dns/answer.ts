import { isIPv4, isIPv6 } from 'node:net';
import { canonicalAddress } from '../../common/address.ts';
import type { Zone } from './records.ts';
import { RCODE, TYPE } from './wire/numbers.ts';
import type { OwnRecord } from './wire/records.ts';
import { record } from './wire/records.ts';
import type { Reply } from './wire/reply.ts';
import { reversedAddress } from './zone/reverse.ts';
import { addressRecord, CLUSTER_TTL_S, type NameRecords } from './zone/service.ts';

/** An ExternalName may lead to another one; a longer way is a circle. */
export const aliasesMax = 8;

export type Answer =
  /** Not a name of the cluster. */
  | { readonly kind: 'outside' }
  | { readonly kind: 'reply'; readonly reply: Reply }
  /** An ExternalName leads out: `records` so far, the rest is at `target`. */
  | { readonly kind: 'leads-out'; readonly records: readonly OwnRecord[]; readonly target: string };

type Found =
  | { readonly kind: 'missing' }
  | { readonly kind: 'name'; readonly at: NameRecords }
  | { readonly kind: 'alias'; readonly target: string };

const MISSING: Found = { kind: 'missing' };

/** Answers a question of class IN from the zone alone. `name` is lower case, without the last dot. */
export function answer(zone: Zone, name: string, type: number): Answer {
  const labels = labelsInside(zone, name);
  if (labels === undefined) return reverseAnswer(zone, name, type) ?? { kind: 'outside' };
  const aliases: OwnRecord[] = [];
  let owner = name;
  let found = lookUp(zone, labels);
  while (found.kind === 'alias' && type !== TYPE.CNAME) {
    aliases.push(record(owner, 'CNAME', CLUSTER_TTL_S, found.target));
    if (type === TYPE.ANY) return replied(RCODE.NOERROR, aliases);
    if (aliases.length >= aliasesMax) return replied(RCODE.SERVFAIL, []);
    owner = found.target;
    const inside = labelsInside(zone, owner);
    if (inside === undefined) return { kind: 'leads-out', records: aliases, target: owner };
    found = lookUp(zone, inside);
  }
  if (found.kind === 'missing') return replied(RCODE.NXDOMAIN, aliases, [], [zone.soa]);
  if (found.kind === 'alias')
    return replied(RCODE.NOERROR, [record(owner, 'CNAME', CLUSTER_TTL_S, found.target)]);
  if (type === TYPE.ANY) return replied(RCODE.NOERROR, [...aliases, minimalAny(owner)]);
  const records = found.at.records.filter((one) => one.type === type);
  if (records.length === 0) return replied(RCODE.NOERROR, aliases, [], [zone.soa]);
  const withTargets = type === TYPE.SRV || type === TYPE.NS;
  return replied(RCODE.NOERROR, [...aliases, ...records], withTargets ? found.at.additionals : []);
}

/** One record in place of all of them (RFC 8482 section 4.2): nobody gets a large answer for a small question. */
export function minimalAny(name: string): OwnRecord {
  return record(name, 'HINFO', CLUSTER_TTL_S, { cpu: 'RFC8482', os: '' });
}

/** The labels before the cluster domain, '' for itself; undefined for names outside of it. */
function labelsInside(zone: Zone, name: string): string | undefined {
  if (name === zone.clusterDomain) return '';
  return name.endsWith(`.${zone.clusterDomain}`) ? name.slice(0, -zone.clusterDomain.length - 1) : undefined;
}

function lookUp(zone: Zone, labels: string): Found {
  const fixed = zone.fixed.get(labels);
  if (fixed !== undefined) return { kind: 'name', at: fixed };
  const parts = labels.split('.');
  const root = parts.pop();
  const namespace = parts.pop();
  if (namespace === undefined || !zone.namespaces.has(namespace)) return MISSING;
  if (root !== 'svc' && root !== 'pod') return MISSING;
  const name = parts.pop();
  if (name === undefined) return empty();
  if (root === 'svc') return lookUpService(zone, `${namespace}/${name}`, parts.join('.'));
  return parts.length === 0 ? lookUpPod(zone, namespace, name, labels) : MISSING;
}

function lookUpService(zone: Zone, key: string, below: string): Found {
  const service = zone.services.get(key);
  if (service === undefined) return MISSING;
  if (below === '' && service.alias !== undefined) return { kind: 'alias', target: service.alias };
  const at = below === '' ? service.own : service.below.get(below);
  return at === undefined ? MISSING : { kind: 'name', at };
}

/** `10-244-1-3`, `fd10-244--3`: only addresses that a Pod of the namespace has. */
function lookUpPod(zone: Zone, namespace: string, label: string, labels: string): Found {
  const v4 = label.replaceAll('-', '.');
  const v6 = label.replaceAll('-', ':');
  const address = isIPv4(v4) ? v4 : isIPv6(v6) ? canonicalAddress(v6) : undefined;
  if (address === undefined || !zone.pods.has(`${namespace}/${address}`)) return MISSING;
  const name = `${labels}.${zone.clusterDomain}`;
  return { kind: 'name', at: { records: [addressRecord(name, address)], additionals: [] } };
}

function empty(): Found {
  return { kind: 'name', at: { records: [], additionals: [] } };
}

/** Names of addresses that are the cluster's; those of all others are asked for elsewhere. */
function reverseAnswer(zone: Zone, name: string, type: number): Answer | undefined {
  const address = reversedAddress(name);
  const names = address === undefined ? undefined : zone.reverse.get(address);
  if (names === undefined) return undefined;
  if (type === TYPE.ANY) return replied(RCODE.NOERROR, [minimalAny(name)]);
  // Each such name is a zone of its own here, so that its SOA stands above it (RFC 2308 section 2).
  if (type !== TYPE.PTR) return replied(RCODE.NOERROR, [], [], [{ ...zone.soa, name }]);
  return replied(
    RCODE.NOERROR,
    names.map((target) => record(name, 'PTR', CLUSTER_TTL_S, target)),
  );
}

function replied(
  rcode: number,
  answers: readonly OwnRecord[],
  additionals: readonly OwnRecord[] = [],
  authorities: readonly OwnRecord[] = [],
): Answer {
  return { kind: 'reply', reply: { rcode, authoritative: true, answers, authorities, additionals } };
}
