import { isIP, SocketAddress } from 'node:net';
import type { Clock } from '../../common/clock.ts';
import { destinationKey, serviceHostCandidates } from '../../common/names.ts';
import type { ConfigLimits } from './limits.ts';

/** The names that a client may mean, in the order in which they are tried; none: it is outside the mesh. */
export function namesFor(host: string, port: number, namespace: string): readonly string[] {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  const version = isIP(bare);
  if (version !== 0) return [destinationKey(version === 6 ? canonicalIpv6(bare) : bare, port)];
  return serviceHostCandidates(bare, namespace).map((candidate) => destinationKey(candidate, port));
}

/** RFC 5952, without a zone; a mapped address is the IPv4 address that it stands for (RFC 4291, section 2.5.5.2). */
function canonicalIpv6(address: string): string {
  const canonical = new SocketAddress({ address, family: 'ipv6' }).address;
  const mapped = canonical.startsWith(MAPPED) ? canonical.slice(MAPPED.length) : '';
  return isIP(mapped) === 4 ? mapped : canonical;
}

const MAPPED = '::ffff:';

/** A use this soon after the one before is not noted: moving a name to the end of its map costs more than it tells. */
const USE_NOTED_MS = 1_000;

/** Destinations asked for, and when each was last used. */
export class Subscriptions {
  readonly #limits: ConfigLimits;
  readonly #clock: Clock;
  /** By name asked for; in order of the last use noted, the longest unused first. */
  readonly #lastUsedMs = new Map<string, number>();
  /** Names that came or went since `takeChanged`. */
  #changed = new Set<string>();

  constructor(limits: ConfigLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  names(): IterableIterator<string> {
    return this.#lastUsedMs.keys();
  }

  get size(): number {
    return this.#lastUsedMs.size;
  }

  /** Names that came or went since the last time; some may be back where they were. */
  takeChanged(): ReadonlySet<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  has(name: string): boolean {
    return this.#lastUsedMs.has(name);
  }

  /** Notes a use. `full` where the name is new and there is room only if one in `spare` makes way, and none does. */
  use(name: string, spare: (name: string) => boolean): 'known' | 'added' | 'full' {
    const now = this.#clock.now();
    const usedMs = this.#lastUsedMs.get(name);
    if (usedMs !== undefined) {
      if (now - usedMs < USE_NOTED_MS) return 'known';
      this.#lastUsedMs.delete(name);
      this.#lastUsedMs.set(name, now);
      return 'known';
    }
    if (this.#lastUsedMs.size >= this.#limits.subscriptionsMax) {
      const victim = this.#lastUsedMs.keys().find(spare);
      if (victim === undefined) return 'full';
      this.#lastUsedMs.delete(victim);
      this.#changed.add(victim);
    }
    this.#lastUsedMs.set(name, now);
    this.#changed.add(name);
    return 'added';
  }

  /** Forgets what hasn't been used for `idleMs`. Returns whether anything was. */
  dropIdle(): boolean {
    const since = this.#clock.now() - this.#limits.idleMs;
    let dropped = false;
    for (const [name, usedMs] of this.#lastUsedMs) {
      // The map is in order of use: the rest is younger.
      if (usedMs > since) break;
      this.#lastUsedMs.delete(name);
      this.#changed.add(name);
      dropped = true;
    }
    return dropped;
  }
}
