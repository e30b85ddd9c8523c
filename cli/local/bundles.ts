import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere } from '../../common/atomic-file.ts';

/** Folders that run as programs of their own, each bundled to `dist/<folder>/main.mjs`. */
export const PROGRAMS = [
  'cli',
  'control-plane',
  'injector',
  'proxy',
  'cni/agent',
  'cni/dial',
  'cni/dns',
] as const;
export type Program = (typeof PROGRAMS)[number];

/** Everything a bundle is made of: the rooms, and the packages as they are locked. */
const SOURCES = [
  ...['common', 'model', 'sources', 'cli', 'control-plane', 'injector', 'proxy', 'cni'],
  ...['package.json', 'package-lock.json', 'scripts/build.ts'],
];
const NOT_BUNDLED = /\.(test\.ts|md)$|\/golden\//;

/** In `dist/`, written last by `npm run build`: the fingerprint of the sources that the bundles were made of. */
export const STAMP_NAME = 'stamp';

/** A fingerprint of all sources: equal where a build would give the same bundles. */
export function sourcesFingerprint(root: string): string {
  const hash = createHash('sha256');
  for (const source of SOURCES) {
    for (const path of filesUnder(root, source)) {
      if (NOT_BUNDLED.test(path)) continue;
      hash
        .update(path)
        .update('\0')
        .update(readFileSync(join(root, path)))
        .update('\0');
    }
  }
  return hash.digest('hex');
}

/** The main module of a program: its bundle where that is as new as the sources, or else the source itself. */
export function programFile(root: string, program: Program, bundlesFresh: boolean): string {
  const bundle = join(root, 'dist', program, 'main.mjs');
  return bundlesFresh && existsSync(bundle) ? bundle : join(root, program, 'main.ts');
}

/**
 * Node's own flags for a sidecar. What it makes lives as long as a request, so a young generation of three times 4 MiB does;
 * Node would let it grow to three times 16, which is a third of a busy sidecar's memory and no faster.
 */
export const SIDECAR_NODE_FLAGS: readonly string[] = ['--max-semi-space-size=4'];

/** Whether `npm run build` has run since the sources changed last. Reads all of them where there are bundles at all. */
export function bundlesAreFresh(root: string): boolean {
  const stamp = readIfThere(join(root, 'dist', STAMP_NAME));
  if (stamp === undefined) return false;
  // Installed without sources, bundles are all there is.
  if (!existsSync(join(root, 'cli', 'main.ts'))) return true;
  return stamp === sourcesFingerprint(root);
}

function filesUnder(root: string, path: string): readonly string[] {
  if (!existsSync(join(root, path))) return [];
  if (/\.(json|ts)$/.test(path)) return [path];
  return readdirSync(join(root, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath.slice(root.length).replace(/^\//, ''), entry.name))
    .sort();
}
