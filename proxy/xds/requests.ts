/** A part of what is asked for of one type. */
export interface Asking {
  readonly subscribe: readonly string[];
  /** Versions held already, by resource name: only what is newer is sent. */
  readonly versions: Readonly<Record<string, string>>;
}

/** A resource held for a name asked for: a listener asked for by an address is held under its own name. */
export interface HeldFor {
  readonly name: string;
  readonly version: string;
}

/**
 * Names to ask for on a new stream, in requests of up to `bytesMax`. Versions count in the first request of a type only,
 * and each must stand beside the name that it is held for: otherwise the server takes it for unwanted and removes it. So
 * what is held comes first, and what doesn't fit there is sent again.
 */
export function askInParts(
  names: Iterable<string>,
  heldFor: ReadonlyMap<string, HeldFor>,
  bytesMax: number,
): Asking[] {
  const all = [...names];
  const inOrder = [...all.filter((name) => heldFor.has(name)), ...all.filter((name) => !heldFor.has(name))];
  const cost = (name: string, isFirst: boolean) => {
    const held = isFirst ? heldFor.get(name) : undefined;
    return sizeOf(name) + (held === undefined ? 0 : sizeOf(held.name) + sizeOf(held.version));
  };
  return chunks(inOrder, bytesMax, cost).map((subscribe, index) => {
    const versions = index === 0 ? subscribe.flatMap((name) => heldFor.get(name) ?? []) : [];
    return { subscribe, versions: Object.fromEntries(versions.map(({ name, version }) => [name, version])) };
  });
}

/** Names in lists of up to `bytesMax` each. */
export function inParts(names: readonly string[], bytesMax: number): string[][] {
  return chunks(names, bytesMax, sizeOf);
}

/** A length and two tags come with each string on the wire. */
const FRAME_BYTES = 8;

function sizeOf(text: string): number {
  return Buffer.byteLength(text) + FRAME_BYTES;
}

function chunks(
  names: readonly string[],
  bytesMax: number,
  cost: (name: string, isFirst: boolean) => number,
): string[][] {
  const parts: string[][] = [];
  let part: string[] | undefined;
  let bytes = 0;
  for (const name of names) {
    const size = cost(name, parts.length <= 1);
    if (part === undefined || bytes + size > bytesMax) {
      part = [];
      parts.push(part);
      bytes = 0;
    }
    part.push(name);
    bytes += size;
  }
  return parts;
}
