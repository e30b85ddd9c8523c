import { masked, type Prefix, prefixText } from '../../common/address.ts';
import { IDENTITY } from '../maps/constants.ts';
import { type Block, familyOf } from './block.ts';
import type { Numbering } from './numbers.ts';
import type { CidrClass } from './plan.ts';

/** A prefix that some rule tells apart from what is around it. */
export interface NamedPrefix {
  readonly prefix: Prefix;
  /** Of the pod at this one address, where a rule names ports of addresses. */
  readonly namedPorts?: { readonly ports: ReadonlyMap<string, number>; readonly key: string };
}

/**
 * All named prefixes in order of address, wider ones first, so that what is inside a prefix follows it and ends at `end`.
 * Each is a class: the addresses whose most specific named prefix it is.
 */
export interface Table {
  readonly classes: readonly CidrClass[];
  readonly places: ReadonlyMap<string, number>;
}

export const EMPTY_TABLE: Table = { classes: [], places: new Map() };

/** All of IPv4: it lies inside `::/0` and wider IPv6 prefixes of the maps, which never mean it. */
const ALL_IPV4: Prefix = { bits: 96, address: Buffer.from('00000000000000000000ffff00000000', 'hex') };

export function tableOf(named: readonly NamedPrefix[], numbers: Numbering): Table {
  const rows = new Map<string, NamedPrefix>();
  for (const one of named) {
    const key = placeKey(one.prefix);
    if (one.namedPorts !== undefined || !rows.has(key)) rows.set(key, one);
  }
  const aroundIpv4 = [...rows.values()].some(({ prefix }) => prefix.bits < 96 && holdsIpv4(prefix));
  if (aroundIpv4 && !rows.has(placeKey(ALL_IPV4))) rows.set(placeKey(ALL_IPV4), { prefix: ALL_IPV4 });
  return ordered(
    [...rows.values()].map(({ prefix, namedPorts }) => {
      const namedPortsKey = namedPorts?.key ?? '';
      const number = numbers.of(`${prefixText(prefix)} ${namedPortsKey}`);
      const ports = namedPorts?.ports ?? new Map<string, number>();
      return { prefix, class: (IDENTITY.CIDR_BIT | number) >>> 0, namedPorts: ports, namedPortsKey };
    }),
  );
}

/** What `cidr_map` holds while `after` takes the place of `before`: what both name; where they differ, as `after` has it. */
export function unionOf(before: Table, after: Table): Table {
  if (before === after) return after;
  const gone = before.classes.filter((one) => !after.places.has(placeKey(one.prefix)));
  return gone.length === 0 ? after : ordered([...after.classes, ...gone]);
}

function ordered(rows: readonly Omit<CidrClass, 'end'>[]): Table {
  const byKey = new Map(rows.map((row) => [placeKey(row.prefix), row]));
  const keys = [...byKey.keys()].toSorted();
  const sorted = keys.flatMap((key) => byKey.get(key) ?? []);
  const ends = endsOf(sorted.map(({ prefix }) => prefix));
  const classes = sorted.map((row, place) => ({ ...row, end: ends[place] ?? place + 1 }));
  return { classes, places: new Map(keys.map((key, place) => [key, place])) };
}

/** Whether two tables tell the same addresses apart in the same way. */
export function sameTable(a: Table, b: Table): boolean {
  return (
    a.classes.length === b.classes.length && a.classes.every((one, at) => one.class === b.classes[at]?.class)
  );
}

/** The classes of a block: those inside its cidr that are in none of its exceptions. All of its prefixes are in the table. */
export function classesOf(table: Table, block: Block): readonly CidrClass[] {
  const outside = familyOf(block.cidr) === 6 ? [...block.except, ALL_IPV4] : block.except;
  const skipped = new Set(outside.map((prefix) => table.places.get(placeKey(prefix))));
  const start = table.places.get(placeKey(block.cidr));
  const end = start === undefined ? 0 : (table.classes[start]?.end ?? 0);
  const inside: CidrClass[] = [];
  for (let place = start ?? 0; place < end; ) {
    const one = table.classes[place];
    if (one === undefined) break;
    if (!skipped.has(place)) inside.push(one);
    place = skipped.has(place) ? one.end : place + 1;
  }
  return inside;
}

/** The class of an address: that of the most specific named prefix that holds it. */
export function classAt(table: Table, address: Buffer): CidrClass | undefined {
  for (let bits = 128; bits >= 0; bits--) {
    const place = table.places.get(placeKey({ bits, address: masked(address, bits) }));
    if (place !== undefined) return table.classes[place];
  }
  return undefined;
}

function holdsIpv4(prefix: Prefix): boolean {
  return masked(ALL_IPV4.address, prefix.bits).equals(prefix.address);
}

function placeKey(prefix: Prefix): string {
  return `${prefix.address.toString('hex')}/${String(prefix.bits).padStart(3, '0')}`;
}

function endsOf(prefixes: readonly Prefix[]): readonly number[] {
  const ends = prefixes.map(() => prefixes.length);
  const open: { readonly place: number; readonly prefix: Prefix }[] = [];
  for (const [place, prefix] of prefixes.entries()) {
    for (let last = open.at(-1); last !== undefined && !contains(last.prefix, prefix); last = open.at(-1)) {
      ends[last.place] = place;
      open.pop();
    }
    open.push({ place, prefix });
  }
  return ends;
}

function contains(outer: Prefix, inner: Prefix): boolean {
  return outer.bits <= inner.bits && masked(inner.address, outer.bits).equals(outer.address);
}
