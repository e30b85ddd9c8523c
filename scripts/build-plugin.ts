// npm run build:plugin: builds heddle-cni into cni/plugin/bin, which is committed so that nobody needs a compiler to run
// Heddle. With --check nothing is written: it fails where a committed plugin isn't what its sources give.
import { fileURLToPath } from 'node:url';
import { buildPlugins, pluginToolchainProblem, stalePlugins, writePlugins } from './lib/plugin-binaries.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const unknown = process.argv.slice(2).filter((argument) => argument !== '--check');
const problem =
  unknown.length > 0 ? `there is no ${unknown.join(' ')}; only --check` : pluginToolchainProblem();
if (problem !== undefined) {
  console.error(problem);
  process.exit(2);
}
const built = buildPlugins(root);
if (process.argv.includes('--check')) {
  const stale = stalePlugins(root, built);
  for (const line of stale) console.error(line);
  process.exit(stale.length === 0 ? 0 : 1);
}
writePlugins(root, built);
for (const { path, bytes } of built) console.log(`${path} ${bytes.length} bytes`);
