import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after } from 'node:test';

const CLANG = 'clang-19';

/** Compiles a test's own program, for the length of the file that calls it; the path of the object. Needs clang 19 and libbpf's headers. */
export function compileBpf(source: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-bpf-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const object = join(directory, basename(source).replace(/\.c$/, '.o'));
  const headers = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
  const flags = ['-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Werror', '-I', headers];
  execFileSync(CLANG, [...flags, '-c', source, '-o', object]);
  return object;
}
