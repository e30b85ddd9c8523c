import type { Result } from '../../../common/errors.ts';
import { ensurePrograms } from '../../../scripts/lib/system-packages.mjs';

/** A peer that is a Debian package: its version, or what to install. */
export function findProgram(name: string, version: () => string | undefined): Result<string, string> {
  if (ensurePrograms([name]).length > 0)
    return { ok: false, error: `install ${name} (the command was named above)` };
  return { ok: true, value: version()?.trim() ?? 'unknown' };
}
