import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  ADDRESS_BYTES,
  addressText,
  canonicalAddress,
  type Prefix,
  parsePrefix,
  prefixHolds,
  prefixText,
} from '../../common/address.ts';
import { HeddleError } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { inNetns, type Netns } from '../kernel/netns.ts';
import { TUNNEL_PORT } from './node-tunnel.ts';

const TABLE = 'heddle';
const CHAIN = 'leaving';
/** MARK_ANSWERS of bpf/include/forward.h, on answers whose question went past the host's connection tracking. */
const ANSWERS = 'meta mark and 0x100 == 0x100 notrack';
/**
 * Packets between nodes need neither connection tracking nor another address. VXLAN's source port tells flows apart, so each
 * connection of pods would be an entry of the node's. What pods send to the same port elsewhere gets an address as ever.
 */
const TUNNEL_IN = `udp dport ${TUNNEL_PORT} iifname != "hdl*" notrack`;
const TUNNEL_OUT = `udp dport ${TUNNEL_PORT} notrack`;
/** The table is read and written within milliseconds; a program that hangs must not hold the agent. */
const nftTimeoutMs = 10_000;
const fingerprintHexDigits = 16;

/** Whose packets get the node's address when they leave the cluster, and which addresses are the cluster's. */
export interface Masquerade {
  /** The node's namespace. */
  readonly netns: Netns;
  /** Of all pods of the cluster. */
  readonly podRanges: readonly string[];
  /** Of all nodes of the cluster. */
  readonly nodeAddresses: readonly string[];
  /** Whether the node has one to other nodes. */
  readonly tunnel?: boolean;
}

/**
 * Writes the table `inet heddle` whole, in one transaction: what goes on keeps its address. What comes from a pod and
 * goes neither to a pod, nor to a node, nor to a group, gets the address of the node; by Heddle's own devices nothing does.
 * Packets that the programs redirect don't come by here; nor, seen from connection tracking, do the questions of
 * clients outside, so that answers to them are left out of it. Throws `nft-missing`, `nft-failed`.
 */
export function setMasquerade(wanted: Masquerade): void {
  nft(wanted.netns, ['-f', '-'], tableText(wanted));
}

/** A sentence for each thing that isn't as `setMasquerade` makes it; none where all is well. */
export function masqueradeProblems(wanted: Masquerade): readonly string[] {
  const listed = listTable(wanted.netns);
  if (listed === undefined) return [`the nftables table ${TABLE} is missing`];
  const objects = listed.filter(isJsonObject);
  const chain = objects.map((one) => one.chain).find((one) => isJsonObject(one) && one.name === CHAIN);
  const isHooked = isJsonObject(chain) && chain.type === 'nat' && chain.hook === 'postrouting';
  const rules = objects.map((one) => one.rule).filter(isJsonObject);
  const comments = rules.map((one) => String(one.comment ?? ''));
  const expected = [...untrackedIn(wanted), ...untrackedOut(wanted), ...rulesOf()].map(fingerprint);
  return [
    ...(isHooked ? [] : [`the chain ${CHAIN} of the nftables table ${TABLE} isn't in the hook postrouting`]),
    ...(comments.join() === expected.join()
      ? []
      : [`the rules of the nftables table ${TABLE} aren't those that Heddle wrote`]),
    ...Object.entries(setsOf(wanted))
      .filter(
        ([name, elements]) => elements.toSorted().join() !== elementsOf(objects, name).toSorted().join(),
      )
      .map(([name]) => `the set ${name} of the nftables table ${TABLE} has other addresses than the cluster`),
  ];
}

/** Removes the table; does nothing where there is none. */
export function removeMasquerade(netns: Netns): void {
  nft(netns, ['-f', '-'], `add table inet ${TABLE}\ndelete table inet ${TABLE}\n`);
}

function tableText(wanted: Masquerade): string {
  const sets = Object.entries(setsOf(wanted)).flatMap(([name, elements]) => [
    `  set ${name} {`,
    `    type ${name.endsWith('4') ? 'ipv4_addr' : 'ipv6_addr'}`,
    '    flags interval',
    ...(elements.length === 0 ? [] : [`    elements = { ${elements.join(', ')} }`]),
    '  }',
  ]);
  return [
    `add table inet ${TABLE}`,
    `delete table inet ${TABLE}`,
    `table inet ${TABLE} {`,
    ...sets,
    '  chain arriving {',
    '    type filter hook prerouting priority raw; policy accept;',
    ...untrackedIn(wanted).map(named),
    '  }',
    ...chainOut(untrackedOut(wanted)),
    `  chain ${CHAIN} {`,
    '    type nat hook postrouting priority 100; policy accept;',
    ...rulesOf().map(named),
    '  }',
    '}',
    '',
  ].join('\n');
}

function untrackedIn({ tunnel }: Masquerade): readonly string[] {
  return tunnel === true ? [ANSWERS, TUNNEL_IN] : [ANSWERS];
}

function untrackedOut({ tunnel }: Masquerade): readonly string[] {
  return tunnel === true ? [TUNNEL_OUT] : [];
}

/** No chain, no hook: every packet of the node would pass by it. */
function chainOut(rules: readonly string[]): readonly string[] {
  if (rules.length === 0) return [];
  const hook = '    type filter hook output priority raw; policy accept;';
  return ['  chain sending {', hook, ...rules.map(named), '  }'];
}

function named(rule: string): string {
  return `    ${rule} comment "${fingerprint(rule)}"`;
}

/** The kernel keeps the source port where it can, as ip-masq-agent's plain rule does. */
function rulesOf(): readonly string[] {
  return [
    'oifname "hdl*" return',
    'oifname "heddle_*" return',
    'ip saddr @pods4 ip daddr != @pods4 ip daddr != @nodes4 ip daddr != { 224.0.0.0/4, 255.255.255.255 } masquerade',
    'ip6 saddr @pods6 ip6 daddr != @pods6 ip6 daddr != @nodes6 ip6 daddr != ff00::/8 masquerade',
  ];
}

/** By it a rule is known again: nft writes rules out in its own words, which change from version to version. */
function fingerprint(rule: string): string {
  return createHash('sha256').update(rule).digest('hex').slice(0, fingerprintHexDigits);
}

function setsOf({ podRanges, nodeAddresses }: Masquerade): Readonly<Record<string, readonly string[]>> {
  const pods = outermost(podRanges.map(parsePrefix)).map(elementText);
  const nodes = [...new Set(nodeAddresses.map((one) => canonicalAddress(one) ?? one))];
  const isSix = (text: string) => text.includes(':');
  return {
    pods4: pods.filter((one) => !isSix(one)),
    pods6: pods.filter(isSix),
    nodes4: nodes.filter((one) => !isSix(one)),
    nodes6: nodes.filter(isSix),
  };
}

/** As nft writes it: a range of one address is an address. */
function elementText(range: Prefix): string {
  return range.bits === ADDRESS_BYTES * 8 ? addressText(range.address) : prefixText(range);
}

/** A set refuses ranges that overlap. */
function outermost(ranges: readonly Prefix[]): readonly Prefix[] {
  return ranges.filter((one, at) =>
    ranges.every(
      (other, otherAt) =>
        at === otherAt ||
        !prefixHolds(other, one.address) ||
        one.bits < other.bits ||
        (one.bits === other.bits && at < otherAt),
    ),
  );
}

/** Elements as nft's JSON has them: an address, or `{"prefix": {"addr", "len"}}`. */
function elementsOf(objects: readonly JsonObject[], name: string): readonly string[] {
  const set = objects.map((one) => one.set).find((one) => isJsonObject(one) && one.name === name);
  if (!isJsonObject(set) || !Array.isArray(set.elem)) return [];
  return set.elem.map((one) => {
    const prefix = isJsonObject(one) ? one.prefix : undefined;
    return isJsonObject(prefix)
      ? `${prefix.addr}/${prefix.len}`
      : typeof one === 'string'
        ? one
        : JSON.stringify(one);
  });
}

/** Undefined where there is no such table. */
function listTable(netns: Netns): readonly JsonValue[] | undefined {
  const tables = parsed(nft(netns, ['-j', 'list', 'tables']));
  const isOurs = (one: JsonValue) =>
    isJsonObject(one) && isJsonObject(one.table) && one.table.family === 'inet' && one.table.name === TABLE;
  if (!tables.some(isOurs)) return undefined;
  return parsed(nft(netns, ['-j', 'list', 'table', 'inet', TABLE]));
}

function parsed(text: string): readonly JsonValue[] {
  const whole = JSON.parse(text) as JsonValue;
  return isJsonObject(whole) && Array.isArray(whole.nftables) ? whole.nftables : [];
}

/** A child process is of its parent thread's namespace. */
function nft(netns: Netns, words: readonly string[], input = ''): string {
  const options = { input, encoding: 'utf8', timeout: nftTimeoutMs } as const;
  const result = inNetns(netns, () => spawnSync('nft', words, options));
  if (result.error !== undefined && 'code' in result.error && result.error.code === 'ENOENT')
    throw new HeddleError(
      'nft-missing',
      'the program nft is needed to give pods the address of their node: install the package nftables',
      { cause: result.error },
    );
  if (result.status === 0) return result.stdout;
  const why = result.error?.message ?? result.stderr.trim().split('\n')[0];
  throw new HeddleError('nft-failed', `nft ${words.join(' ')}: ${why}`, { cause: result.error });
}
