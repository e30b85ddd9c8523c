import { IDENTITY } from '../../../cni/maps/constants.ts';
import { FILL_ORDER, type PlannedMap } from '../../../cni/maps/reconcile.ts';
import { decode } from '../../../cni/maps/struct.ts';
import { TABLES, type Table } from '../../../cni/maps/tables.ts';
import type { PolicyNumbers } from '../../../cni/policy/plan.ts';
import { addressText, prefixText } from '../../../common/address.ts';

type Rows = Iterable<readonly [Uint8Array, Uint8Array]>;

/** The planned maps of a node, with the names of the numbers in them. */
export interface Held {
  entries(map: PlannedMap): Rows;
  readonly numbers: PolicyNumbers;
}

interface Names {
  identity(number: number): string;
  set(number: number): string;
  /** Of a key of `policy_map`: an identity or a class. */
  peer(number: number): string;
}

/**
 * What maps mean, whatever numbers were given: identities, sets and classes by what they stand for, Services by their lists of
 * backends. One line for each entry, in order; a number that stands for nothing shows as `?7`.
 */
function meaningOf({ entries, numbers }: Held): ReadonlyMap<PlannedMap, readonly string[]> {
  const names = namesOf(numbers);
  const rowsOf = <K, V>(map: PlannedMap, { key, value }: Table<K, V>, row: (key: K, value: V) => unknown) =>
    [...entries(map)].map(([keyBytes, valueBytes]) =>
      textOf(row(decode(key, Buffer.from(keyBytes)), decode(value, Buffer.from(valueBytes)))),
    );
  const lists = new Map<number, string[]>();
  for (const [key, value] of entries('backend')) {
    const { serviceId, slot } = decode(TABLES.backend.key, Buffer.from(key));
    const { address, port } = decode(TABLES.backend.value, Buffer.from(value));
    const list = lists.get(serviceId) ?? [];
    list[slot] = `${addressText(address)} ${port}`;
    lists.set(serviceId, list);
  }
  const unused = new Map(lists);
  const meanings: Partial<Record<PlannedMap, () => readonly string[]>> = {
    policy: () =>
      rowsOf('policy', TABLES.policy, ({ set, peer, ...key }, value) => [
        names.set(set),
        names.peer(peer),
        key,
        value,
      ]),
    cidr: () => rowsOf('cidr', TABLES.cidr, (prefix, value) => [prefixText(prefix), names.peer(value)]),
    endpoint: () =>
      rowsOf('endpoint', TABLES.endpoint, (address, { identity, ingressSet, egressSet, ...value }) => [
        addressText(address),
        names.identity(identity),
        [ingressSet, egressSet].map(names.set),
        value,
      ]),
    service: () =>
      rowsOf('service', TABLES.service, (key, { id, ...value }) => {
        unused.delete(id);
        return [key, value, value.count === 0 ? [] : (lists.get(id) ?? `?${id}`)];
      }),
    backend: () => [...unused].map(([id, list]) => textOf(['for no Service', id, list])),
  };
  return new Map(
    FILL_ORDER.toReversed().map((map) => {
      const rows = meanings[map]?.() ?? [...entries(map)].map((entry) => textOf(entry.map(hex)));
      return [map, rows.toSorted()];
    }),
  );
}

/** The lines that only one of two has, by map; none where they mean the same. */
export function differencesOf(kernel: Held, wanted: Held): readonly string[] {
  const [found, expected] = [meaningOf(kernel), meaningOf(wanted)];
  return FILL_ORDER.flatMap((map) => {
    const [left, right] = [counted(found.get(map)), counted(expected.get(map))];
    const only = (one: ReadonlyMap<string, number>, other: ReadonlyMap<string, number>, what: string) =>
      [...one].filter(([row, count]) => other.get(row) !== count).map(([row]) => `${map} ${what}: ${row}`);
    return [...only(left, right, 'holds'), ...only(right, left, 'lacks')];
  });
}

function counted(rows: readonly string[] = []): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(row, (counts.get(row) ?? 0) + 1);
  return counts;
}

function namesOf({ identities, sets, classes }: PolicyNumbers): Names {
  const inverse = (numbers: Readonly<Record<string, number>>) =>
    new Map(Object.entries(numbers).map(([name, number]) => [number, name]));
  const [ofIdentity, ofSet, ofClass] = [inverse(identities), inverse(sets), inverse(classes)];
  const identity = (number: number) =>
    number < IDENTITY.FIRST_POD ? String(number) : (ofIdentity.get(number) ?? `?${number}`);
  return {
    identity,
    set: (number) => (number === 0 ? '0' : (ofSet.get(number) ?? `?${number}`)),
    peer: (number) =>
      number < IDENTITY.CIDR_BIT
        ? identity(number)
        : `class ${ofClass.get(number - IDENTITY.CIDR_BIT) ?? `?${number}`}`,
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function textOf(row: unknown): string {
  return JSON.stringify(row, (_key, value: unknown) => {
    if (typeof value === 'bigint') return String(value);
    if (value !== null && typeof value === 'object' && 'type' in value && value.type === 'Buffer')
      return hex(Uint8Array.from((value as unknown as { data: readonly number[] }).data));
    return value;
  });
}
