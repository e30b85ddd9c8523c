import type { BackendAddress, FrontendValue, PlannedBackend, ServiceNumbers } from './plan.ts';

const LAST_ID = 0xffff_ffff;

/** No list has a number yet, and none up to `highest` is to be given: maps of before may hold it. */
export function newNumbers(highest = 0): ServiceNumbers {
  return { ids: new Map(), next: following(highest) };
}

/** What a list of backends is known by. */
export function contentOf(backends: readonly BackendAddress[]): string {
  return backends.map(({ address, port }) => `${address.toString('latin1')}${port}`).join(' ');
}

/**
 * Gives numbers to lists of backends: the same list keeps its number, another list gets one that no list had lately, so
 * that a program that read a service a moment ago finds the backends of then or none, never somebody else's.
 */
export class Numbering {
  readonly #before: ReadonlyMap<string, number>;
  readonly #taken: ReadonlySet<number>;
  readonly #ids = new Map<string, number>();
  #next: number;

  constructor(before: ServiceNumbers) {
    this.#before = before.ids;
    this.#taken = new Set(before.ids.values());
    this.#next = before.next;
  }

  of(content: string): number {
    const known = this.#ids.get(content) ?? this.#before.get(content) ?? this.#give();
    this.#ids.set(content, known);
    return known;
  }

  /** Whether this plan has given a number to the list already. */
  knows(content: string): boolean {
    return this.#ids.has(content);
  }

  numbers(): ServiceNumbers {
    return { ids: this.#ids, next: this.#next };
  }

  #give(): number {
    let id = this.#next;
    while (this.#taken.has(id)) id = following(id);
    this.#next = following(id);
    return id;
  }
}

function following(id: number): number {
  return id >= LAST_ID ? 1 : id + 1;
}

/**
 * The numbers that maps of an earlier run hold, read from their entries, so that an agent that starts anew changes nothing
 * that is still true. Lists with holes are forgotten.
 */
export function recoverNumbers(
  services: Iterable<Pick<FrontendValue, 'id' | 'count'>>,
  backends: Iterable<PlannedBackend>,
): ServiceNumbers {
  let highest = 0;
  const lists = new Map<number, BackendAddress[]>();
  for (const { key, value } of backends) {
    highest = Math.max(highest, key.serviceId);
    const list = lists.get(key.serviceId) ?? [];
    list[key.slot] = { text: '', ...value };
    lists.set(key.serviceId, list);
  }
  const ids = new Map<string, number>();
  for (const { id, count } of services) {
    highest = Math.max(highest, id);
    const list = lists.get(id);
    if (list !== undefined && list.length === count && Object.keys(list).length === count)
      ids.set(contentOf(list), id);
  }
  return { ids, next: following(highest) };
}
