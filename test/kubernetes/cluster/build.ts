import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeAtomically } from '../../../common/atomic-file.ts';
import { HeddleError } from '../../../common/errors.ts';
import type { PartName } from './part-tools.ts';
import { PARTS } from './parts.ts';

const FINGERPRINT_CHARS = 16;

/** A folder of the cache for each part, named by what it is made from: `etcd-0123456789abcdef`. */
export interface BuiltParts {
  readonly cache: string;
  readonly folders: Readonly<Record<PartName, string>>;
}

/** Where the parts are, or are to be. */
export function locateParts(cache: string): BuiltParts {
  const fingerprints = new Map<string, string>();
  for (const part of PARTS) {
    const hash = createHash('sha256');
    for (const input of part.inputs()) hash.update(input).update('\0');
    for (const name of part.from) hash.update(fingerprints.get(name) ?? '');
    fingerprints.set(part.name, hash.digest('hex').slice(0, FINGERPRINT_CHARS));
  }
  const folders = PARTS.map(({ name }) => [name, join(cache, `${name}-${fingerprints.get(name)}`)] as const);
  return { cache, folders: Object.fromEntries(folders) as Record<PartName, string> };
}

/** Throws HeddleError `not-built` where one of the parts is missing. */
export function needParts({ folders }: BuiltParts, names: readonly PartName[]): void {
  const missing = names.filter((name) => !existsSync(folders[name]));
  if (missing.length === 0) return;
  const flag = PARTS.some(({ name, ownCases }) => ownCases === true && missing.includes(name))
    ? ' --own-cases'
    : '';
  throw new HeddleError(
    'not-built',
    `not built yet: ${missing.join(', ')}; run node bin/pinned test/kubernetes/cluster/main.ts build${flag}`,
  );
}

/**
 * Builds what is missing, one part after the other, and reports each with the seconds that it took. A part that was begun and
 * not finished is begun anew. What only Kubernetes' own cases need is left out unless they are wanted.
 */
export function buildParts(
  built: BuiltParts,
  report: (line: string) => void,
  { ownCases = false }: { readonly ownCases?: boolean } = {},
): void {
  const started = performance.now();
  for (const part of PARTS) if (ownCases || part.ownCases !== true) report(buildPart(part.name, built));
  makeShortcuts(built);
  report(line('all', seconds(started), built.cache));
}

/** `bin/kubectl` and `bin/helm`: of the build that was the last, for people and for tests that need no more. */
function makeShortcuts({ cache, folders }: BuiltParts): void {
  const bin = join(cache, 'bin');
  mkdirSync(bin, { recursive: true });
  const commands = {
    kubectl: `'${join(folders.kubernetes, 'kubernetes')}' kubectl`,
    helm: `'${join(folders.helm, 'helm')}'`,
  };
  for (const [name, command] of Object.entries(commands))
    writeAtomically(join(bin, name), `#!/bin/sh\nexec ${command} "$@"\n`, 0o755);
}

/** Builds one part where it is missing; those that it is made from must be there. Says how long it took. */
export function buildPart(name: PartName, { folders }: BuiltParts): string {
  const folder = folders[name];
  if (existsSync(folder)) return line(name, 'there', folder);
  const started = performance.now();
  const partial = `${folder}.partial-${process.pid}`;
  mkdirSync(dirname(folder), { recursive: true });
  try {
    mkdirSync(partial);
    PARTS.find((part) => part.name === name)?.make(partial, (other) => folders[other]);
    // Another process may have built the same meanwhile: either is as good.
    if (!existsSync(folder)) renameSync(partial, folder);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return line(name, seconds(started), folder);
}

function line(name: string, took: string, folder: string): string {
  return `${name.padEnd(12)} ${took.padStart(8)}  ${folder}`;
}

function seconds(started: number): string {
  return `${((performance.now() - started) / 1000).toFixed(1)} s`;
}
