import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { removeLink } from './links.ts';

/** Everything pinned in a node's folder: links first, so that no program runs over maps that are taken away. */
export function removePins(pins: string): readonly string[] {
  if (!existsSync(pins)) return [];
  const paths = readdirSync(pins, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
  for (const path of paths) if (path.includes('/links/')) removeLink(path);
  rmSync(pins, { recursive: true, force: true });
  return paths;
}
