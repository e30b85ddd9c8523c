import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { HeddleError } from '../../../common/errors.ts';
import type { KubeObject } from '../../../model/objects.ts';

export const CHART = fileURLToPath(new URL('../../../charts/heddle', import.meta.url));
const HELM_TIMEOUT_MS = 60_000;

/** The helm that these tests' cluster was built with, or one on PATH. Throws `unreachable` where there is none. */
export function findHelm(): string {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const folders = [join(cache, 'heddle/kubernetes/bin'), ...(process.env.PATH ?? '').split(delimiter)];
  const found = folders.map((folder) => join(folder, 'helm')).find(existsSync);
  if (found !== undefined) return found;
  throw new HeddleError(
    'unreachable',
    'there is no helm: node bin/pinned test/kubernetes/cluster/main.ts build',
  );
}

/** What helm prints. Throws with its own words where it refuses. */
export function helm(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(findHelm(), args, {
    encoding: 'utf8',
    timeout: HELM_TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) throw new HeddleError('failed', `helm ${args[0]}: ${stderr.trim()}`);
  return stdout;
}

/** The chart's objects under more arguments of `helm template`. */
export function render(...more: readonly string[]): string {
  const text = helm('template', 'heddle', CHART, '--namespace', 'heddle-system', ...more);
  // Which file an object is from is no part of it.
  return text.replace(/^# Source: .*\n/gm, '');
}

export function objectsOf(rendered: string): readonly KubeObject[] {
  return parseAllDocuments(rendered).flatMap((document) => {
    const object: unknown = document.toJS();
    return object === null ? [] : [object as KubeObject];
  });
}

/** `Deployment heddle-system/heddle-injector`. */
export function labelOf({ kind, metadata: { namespace, name } }: KubeObject): string {
  return `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
}
