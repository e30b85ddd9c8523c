import { HeddleError } from '../../../common/errors.ts';
import type { Logger } from '../../../common/log.ts';
import { addressNumber, numberText, readBlock } from './block.ts';
import { type AddressFiles, openAddressFiles } from './files.ts';
import { AddressPool } from './pool.ts';
import {
  type AddressChange,
  type AddressLease,
  type AddressOwner,
  changeLine,
  readChanges,
  readSnapshot,
  snapshotText,
} from './records.ts';

export type { AddressLease, AddressOwner };

/** Lines of changes before they become a snapshot. */
export const changesMax = 1024;

export interface IpamOptions {
  /** The node's blocks of addresses: one CIDR, or one of each family. */
  readonly blocks: readonly string[];
  /** What the node's pods have, whatever the files say; `LocalPod`s will do. */
  readonly found: readonly AddressLease[];
  readonly log: Logger;
}

export interface BlockUsage {
  readonly block: string;
  /** As a number with a fraction of a bit lost for wide IPv6 blocks. */
  readonly usable: number;
  readonly given: number;
}

/**
 * Gives each pod of a node one address of every block, never one that another has. What it has given is on disk before it
 * returns, so that a process killed at any instant forgets none.
 */
export class Ipam {
  readonly #files: AddressFiles;
  readonly #log: Logger;
  readonly #pools: readonly AddressPool[];
  readonly #leases = new Map<string, AddressLease>();
  /** Owner of each address, in the block or not. */
  readonly #owners = new Map<bigint, string>();
  #number = 0;
  #changes = 0;

  /** Takes up what the files hold and what was found. Throws a `HeddleError` where the blocks or the files are unusable. */
  constructor(files: AddressFiles, { blocks, found, log }: IpamOptions) {
    this.#files = files;
    this.#log = log;
    this.#pools = readPools(blocks);
    this.#load();
    for (const lease of found) this.#adopt(lease);
    this.#compact();
  }

  /** The owner's addresses, one of each block in the blocks' order; the same again where it has some already. */
  allocate(owner: AddressOwner): readonly string[] {
    const known = this.#leases.get(keyOf(owner));
    if (known !== undefined) return known.ips;
    const ips = this.#pools.map((pool) => numberText(next(pool)));
    const lease = { containerId: owner.containerId, ifname: owner.ifname, ips };
    this.#write({ number: this.#number + 1, kind: 'give', lease });
    return ips;
  }

  /** Takes back what the owner has; returns it, empty where it has nothing. */
  release(owner: AddressOwner): readonly string[] {
    const known = this.#leases.get(keyOf(owner));
    if (known === undefined) return [];
    const { containerId, ifname } = owner;
    this.#write({ number: this.#number + 1, kind: 'take', owner: { containerId, ifname } });
    return known.ips;
  }

  /** Takes back everything whose owner `keep` doesn't know. Returns what was taken back. */
  collect(keep: (owner: AddressOwner) => boolean): readonly AddressLease[] {
    const stale = this.leases().filter((lease) => !keep(lease));
    for (const lease of stale) this.release(lease);
    return stale;
  }

  find(owner: AddressOwner): readonly string[] | undefined {
    return this.#leases.get(keyOf(owner))?.ips;
  }

  leases(): readonly AddressLease[] {
    return [...this.#leases.values()];
  }

  usage(): readonly BlockUsage[] {
    return this.#pools.map((pool) => ({
      block: pool.block.cidr,
      usable: Number(pool.block.usable),
      given: pool.given(),
    }));
  }

  close(): void {
    this.#files.close();
  }

  #load(): void {
    const { snapshot: text, changes: lines } = this.#files.read();
    const snapshot = text === undefined ? undefined : readSnapshot(text);
    if (text !== undefined && snapshot === undefined) {
      this.#log.error('the file of given addresses is damaged; only what pods were found with is known');
      this.#files.setAside();
    }
    for (const memory of snapshot?.pools ?? []) {
      const pool = this.#pools.find(({ block }) => block.cidr === memory.cidr);
      pool?.recall(number(memory.next), memory.freed.map(number));
    }
    this.#number = snapshot?.number ?? 0;
    for (const lease of snapshot?.leases ?? []) this.#give(lease);
    const { changes, damaged } = readChanges(lines);
    if (damaged > 0) this.#log.error('changes of given addresses are unreadable', { lines: damaged });
    for (const change of changes) if (change.number > this.#number) this.#apply(change);
  }

  /** What a pod has counts, and who else was said to have it hasn't. */
  #adopt({ containerId, ifname, ips }: AddressLease): void {
    const key = keyOf({ containerId, ifname });
    const known = this.#leases.get(key);
    if (known !== undefined && known.ips.join() === ips.join()) return;
    if (known !== undefined) this.#take(known);
    for (const ip of ips) {
      const other = this.#leases.get(this.#owners.get(addressNumber(ip)) ?? '');
      if (other === undefined) continue;
      this.#log.error('two pods were given one address', {
        address: ip,
        container: containerId,
        other: other.containerId,
      });
      this.#take(other);
    }
    this.#give({ containerId, ifname, ips });
  }

  #write(change: AddressChange): void {
    if (this.#changes >= changesMax) this.#compact();
    this.#files.append(changeLine(change));
    this.#changes++;
    this.#apply(change);
  }

  #apply(change: AddressChange): void {
    this.#number = change.number;
    if (change.kind === 'give') this.#give(change.lease);
    else {
      const lease = this.#leases.get(keyOf(change.owner));
      if (lease !== undefined) this.#take(lease);
    }
  }

  #give(lease: AddressLease): void {
    const key = keyOf(lease);
    this.#leases.set(key, lease);
    for (const address of lease.ips.map(addressNumber)) {
      this.#owners.set(address, key);
      for (const pool of this.#pools) pool.take(address);
    }
  }

  #take(lease: AddressLease): void {
    this.#leases.delete(keyOf(lease));
    for (const address of lease.ips.map(addressNumber)) {
      this.#owners.delete(address);
      for (const pool of this.#pools) pool.release(address);
    }
  }

  #compact(): void {
    const pools = this.#pools.map((pool) => {
      const { next, freed } = pool.memory();
      return { cidr: pool.block.cidr, next: hex(next), freed: freed.map(hex) };
    });
    this.#files.replace(snapshotText({ number: this.#number, leases: this.leases(), pools }));
    this.#changes = 0;
  }
}

/** The addresses of a node, kept in `directory`. Throws a `HeddleError`. */
export function openIpam(directory: string, options: IpamOptions): Ipam {
  return new Ipam(openAddressFiles(directory), options);
}

function readPools(blocks: readonly string[]): readonly AddressPool[] {
  const pools = blocks.map((cidr) => new AddressPool(readBlock(cidr)));
  const families = new Set(pools.map(({ block }) => block.family));
  if (pools.length === 0 || families.size !== pools.length)
    throw new HeddleError(
      'address-blocks',
      `a node needs one block of pod addresses, or one of each family, and has ${blocks.join(', ') || 'none'}`,
    );
  return pools;
}

function next(pool: AddressPool): bigint {
  const address = pool.peek();
  if (address !== undefined) return address;
  const { cidr, usable } = pool.block;
  throw new HeddleError(
    'addresses-exhausted',
    `no address is left in ${cidr}: ${pool.given()} of ${usable} are given to pods; delete pods or give the node a larger block`,
  );
}

function keyOf({ containerId, ifname }: AddressOwner): string {
  return `${containerId}/${ifname}`;
}

function hex(address: bigint): string {
  return address.toString(16);
}

function number(text: string): bigint {
  return BigInt(`0x${text}`);
}
