import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const module = fileURLToPath(new URL('./runtime', import.meta.url));
const otherPlugins = fileURLToPath(new URL('../cluster/plugins', import.meta.url));
const lookup = fileURLToPath(new URL('../cluster/lookup', import.meta.url));
const BUILD_TIMEOUT_MS = 300_000;

export interface GoTools {
  /** `cnitool` of the CNI project. */
  readonly cnitool: string;
  /** runtime/main.go: libcni as containerd uses it. */
  readonly runtime: string;
}

/** Builds both. A string says why it can't be done here. */
export function goTools(): GoTools | string {
  const packages = ['.', 'github.com/containernetworking/cni/cnitool'];
  const folder = built(module, ['go.mod', 'go.sum', 'main.go'], packages);
  if ('problem' in folder) return folder.problem;
  return { cnitool: join(folder.path, 'cnitool'), runtime: join(folder.path, 'cni-runtime') };
}

/** A folder with another CNI's plugins: `bridge` and `host-local` of containernetworking/plugins. */
export function otherCniPlugins(): string | { readonly problem: string } {
  const project = 'github.com/containernetworking/plugins/plugins';
  const folder = built(
    otherPlugins,
    ['go.mod', 'go.sum'],
    [`${project}/main/bridge`, `${project}/ipam/host-local`],
  );
  return 'problem' in folder ? folder : folder.path;
}

/** A program that looks names up by Go's own resolver. */
export function goLookup(): string | { readonly problem: string } {
  const folder = built(lookup, ['go.mod', 'main.go'], ['.']);
  return 'problem' in folder ? folder : join(folder.path, 'lookup');
}

/** Builds once for each version of the sources, outside the checkout. */
function built(
  cwd: string,
  sources: readonly string[],
  packages: readonly string[],
): { readonly path: string } | { readonly problem: string } {
  const content = sources.map((file) => readFileSync(join(cwd, file)));
  const hash = createHash('sha256').update(Buffer.concat(content)).digest('hex').slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const path = join(cache, 'heddle', 'cni-tools', hash);
  const mark = join(path, '.built');
  if (existsSync(mark)) return { path };
  mkdirSync(path, { recursive: true });
  const done = spawnSync('go', ['build', '-trimpath', '-o', `${path}/`, ...packages], {
    ...{ cwd, encoding: 'utf8', timeout: BUILD_TIMEOUT_MS },
  });
  if (done.error !== undefined) return { problem: `Go is not installed: ${done.error.message}` };
  if (done.status !== 0)
    return { problem: `${packages.join(', ')} can't be built: ${done.stderr.slice(-500)}` };
  writeFileSync(mark, '');
  return { path };
}
