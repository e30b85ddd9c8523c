import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { inNetns } from '../../../cni/kernel/netns.ts';
import { ip, removeNamespace, runIn } from '../../support/network/commands.ts';
import { eventually } from '../../support/wait.ts';

const prefix = `hdlt-s${process.pid}-`;
/** What the kernel does on its own some time after a change: link-local addresses, routes of addresses. */
const settleMs = 5_000;

/** Namespaces of one test file; `close` removes them. Their `lo` is up, and no address waits for duplicates. */
export class Namespaces {
  readonly #names: string[] = [];

  /** Path of a new one. */
  make(label: string): string {
    const name = `${prefix}${label}`;
    ip('netns', 'add', name);
    this.#names.push(name);
    const netns = `/run/netns/${name}`;
    runIn(netns, 'sysctl', '-qw', 'net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0');
    runIn(netns, 'ip', 'link', 'set', 'lo', 'up');
    return netns;
  }

  remove(netns: string): void {
    removeNamespace(nameOf(netns));
  }

  close(): void {
    for (const name of this.#names.splice(0)) removeNamespace(name);
  }
}

export function nameOf(netns: string): string {
  return netns.slice('/run/netns/'.length);
}

/** A wire between two namespaces. */
export function connect(
  one: readonly [netns: string, device: string],
  other: readonly [string, string],
): void {
  const peer = ['peer', 'name', other[1], 'netns', nameOf(other[0])];
  ip('-n', nameOf(one[0]), 'link', 'add', one[1], 'type', 'veth', ...peer);
  for (const [netns, device] of [one, other]) ip('-n', nameOf(netns), 'link', 'set', device, 'up');
}

/** Everything of a namespace that the set-up may touch, as ip(8) and /proc show it. */
export interface Picture {
  readonly devices: unknown;
  readonly routes: unknown;
  readonly rules: unknown;
  readonly neighbours: unknown;
  readonly settings: Readonly<Record<string, string>>;
}

export function pictureOf(netns: string): Picture {
  const list = (...words: readonly string[]) => {
    const text = ip('-n', nameOf(netns), '-j', ...words);
    return text.trim() === '' ? [] : (JSON.parse(text) as readonly unknown[]);
  };
  return {
    devices: list('-d', 'addr', 'show'),
    routes: [4, 6].map((family) => sorted(list(`-${family}`, 'route', 'show', 'table', 'all'))),
    rules: [4, 6].map((family) => list(`-${family}`, '-d', 'rule', 'show')),
    neighbours: sorted(list('neigh', 'show', 'nud', 'permanent')),
    settings: inNetns(netns, () =>
      Object.fromEntries(['ipv4', 'ipv6'].flatMap((family) => settings(family))),
    ),
  };
}

/** Waits until a namespace looks so; shows the difference where it doesn't. */
export async function assertBecomes(netns: string, wanted: Picture): Promise<void> {
  try {
    await eventually(() => isDeepStrictEqual(pictureOf(netns), wanted), {
      deadlineMs: settleMs,
      what: 'same',
    });
  } catch {
    assert.deepEqual(pictureOf(netns), wanted);
  }
}

/** Waits until nothing changes any more between two looks. */
export async function settled(netns: string): Promise<Picture> {
  let last = pictureOf(netns);
  await eventually(
    () => {
      const before = last;
      last = pictureOf(netns);
      return isDeepStrictEqual(before, last);
    },
    { deadlineMs: settleMs, what: `${netns} stands still` },
  );
  return last;
}

function sorted(all: readonly unknown[]): readonly unknown[] {
  return all.toSorted((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
}

/** All that can be read below /proc/sys/net/FAMILY of the thread's namespace. */
function settings(folder: string): (readonly [string, string])[] {
  return readdirSync(join('/proc/sys/net', folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return settings(path);
    try {
      return [[path, readFileSync(join('/proc/sys/net', path), 'utf8').trim()] as const];
    } catch {
      // `route/flush` is for writing only, a secret that isn't set can't be read.
      return [];
    }
  });
}
