// npm run build:bpf: compiles the eBPF programs into cni/bpf/objects, which are committed so that nobody needs a compiler
// to run Heddle. With --check nothing is written: it fails where the committed objects aren't what the sources give.
import { fileURLToPath } from 'node:url';
import { compileObjects, staleObjects, toolchainProblem, writeObjects } from './lib/bpf-objects.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const unknown = process.argv.slice(2).filter((argument) => argument !== '--check');
const problem = unknown.length > 0 ? `there is no ${unknown.join(' ')}; only --check` : toolchainProblem();
if (problem !== undefined) {
  console.error(problem);
  process.exit(2);
}
const compiled = compileObjects(root);
if (process.argv.includes('--check')) {
  const stale = staleObjects(root, compiled);
  for (const line of stale) console.error(line);
  process.exit(stale.length === 0 ? 0 : 1);
}
writeObjects(root, compiled);
for (const { path, bytes } of compiled) console.log(`${path} ${bytes.length} bytes`);
