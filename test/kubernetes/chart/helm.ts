import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { HeddleError } from '../../../common/errors.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { locateParts, needParts } from '../cluster/build.ts';
import { cacheFolder } from '../cluster/layout.ts';

export const CHART = fileURLToPath(new URL('../../../charts/heddle', import.meta.url));
const HELM_TIMEOUT_MS = 60_000;

/** The helm that the cluster's build made. Throws `not-built` where it wasn't built. */
export function findHelm(): string {
  const built = locateParts(cacheFolder(process.env));
  needParts(built, ['helm']);
  return join(built.folders.helm, 'helm');
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
