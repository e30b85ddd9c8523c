import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const module = fileURLToPath(new URL('./runtime', import.meta.url));
const BUILD_TIMEOUT_MS = 300_000;

export interface GoTools {
  /** `cnitool` of the CNI project. */
  readonly cnitool: string;
  /** runtime/main.go: libcni as containerd uses it. */
  readonly runtime: string;
}

/** Builds both once for each version of their sources, outside the checkout. A string says why it can't be done here. */
export function goTools(): GoTools | string {
  const sources = ['go.mod', 'go.sum', 'main.go'].map((file) => readFileSync(join(module, file)));
  const hash = createHash('sha256').update(Buffer.concat(sources)).digest('hex').slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache');
  const directory = join(cache, 'heddle', 'cni-tools', hash);
  const tools = { cnitool: join(directory, 'cnitool'), runtime: join(directory, 'cni-runtime') };
  if (existsSync(tools.cnitool) && existsSync(tools.runtime)) return tools;
  mkdirSync(directory, { recursive: true });
  const packages = ['.', 'github.com/containernetworking/cni/cnitool'];
  const built = spawnSync('go', ['build', '-trimpath', '-o', `${directory}/`, ...packages], {
    cwd: module,
    encoding: 'utf8',
    timeout: BUILD_TIMEOUT_MS,
  });
  if (built.error !== undefined) return `Go is not installed: ${built.error.message}`;
  if (built.status !== 0) return `cnitool and libcni can't be built: ${built.stderr.slice(-500)}`;
  return tools;
}
