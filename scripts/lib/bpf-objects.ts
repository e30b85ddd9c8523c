import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The one compiler whose output is committed: Debian 12 and newer package it as clang-19 and llvm-19. */
export const BPF_TOOLCHAIN = {
  clang: 'clang-19',
  strip: 'llvm-strip-19',
  version: '19.1.7',
  /** Of bpf_helpers.h; Debian's package libbpf-dev. */
  headers: '/usr/include/bpf/bpf_helpers.h',
  packages: 'clang-19 llvm-19 libbpf-dev',
} as const;

const SOURCES = 'cni/bpf';
const OBJECTS = 'cni/bpf/objects';
const COMPILE_TIMEOUT_MS = 120_000;

/** Multiarch folder of asm/types.h, which linux/types.h includes. */
const ASM_HEADERS = {
  x64: '/usr/include/x86_64-linux-gnu',
  arm64: '/usr/include/aarch64-linux-gnu',
} as const;

export interface CompiledObject {
  /** From the root of the checkout: `cni/bpf/objects/pod.o`. */
  readonly path: string;
  readonly bytes: Buffer;
}

/** Why objects can't be compiled here, with what to install; undefined where they can. */
export function toolchainProblem(): string | undefined {
  const install = `install ${BPF_TOOLCHAIN.packages} (Debian 12 or newer)`;
  const found = spawnSync(BPF_TOOLCHAIN.clang, ['--version'], { encoding: 'utf8' });
  if (found.status !== 0) return `there is no ${BPF_TOOLCHAIN.clang}: ${install}`;
  const version = /version (\d+\.\d+\.\d+)/.exec(found.stdout)?.[1];
  if (version !== BPF_TOOLCHAIN.version)
    return `${BPF_TOOLCHAIN.clang} is ${version ?? 'of an unknown version'}, not ${BPF_TOOLCHAIN.version}: other versions give other bytes`;
  if (spawnSync(BPF_TOOLCHAIN.strip, ['--version']).status !== 0)
    return `there is no ${BPF_TOOLCHAIN.strip}: ${install}`;
  if (!existsSync(BPF_TOOLCHAIN.headers)) return `there is no ${BPF_TOOLCHAIN.headers}: ${install}`;
  return undefined;
}

/** Compiles every `cni/bpf/*.bpf.c`. Throws with the compiler's own words where one doesn't compile. */
export function compileObjects(root: string): readonly CompiledObject[] {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-bpf-'));
  try {
    return readdirSync(join(root, SOURCES))
      .filter((file) => file.endsWith('.bpf.c'))
      .sort()
      .map((file) => {
        const name = file.replace(/\.bpf\.c$/, '.o');
        return {
          path: `${OBJECTS}/${name}`,
          bytes: compileOne(root, `${SOURCES}/${file}`, join(directory, name)),
        };
      });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Paths are relative to the root and DWARF is cut off, so that the bytes tell nothing of where they were made. */
function compileOne(root: string, source: string, output: string): Buffer {
  const asm = process.arch === 'arm64' ? ASM_HEADERS.arm64 : ASM_HEADERS.x64;
  run(root, BPF_TOOLCHAIN.clang, [
    ...['-target', 'bpfel', '-mcpu=v3', '-O2', '-g', '-Wall', '-Werror'],
    ...['-fno-ident', '-fdebug-compilation-dir=.', '-isystem', asm, '-I', `${SOURCES}/include`],
    ...['-c', source, '-o', output],
  ]);
  run(root, BPF_TOOLCHAIN.strip, ['-g', output]);
  return readFileSync(output);
}

function run(root: string, command: string, args: readonly string[]): void {
  const done = spawnSync(command, args, { cwd: root, encoding: 'utf8', timeout: COMPILE_TIMEOUT_MS });
  if (done.status !== 0)
    throw new Error(`${command} ${args.join(' ')}\n${done.error?.message ?? ''}${done.stderr}`);
}

/** Objects that differ from what is committed, and committed ones without a source, each with what to do. */
export function staleObjects(root: string, compiled: readonly CompiledObject[]): readonly string[] {
  const stale: string[] = [];
  for (const { path, bytes } of compiled) {
    if (!existsSync(join(root, path))) stale.push(`${path} is missing: run npm run build:bpf`);
    else if (!readFileSync(join(root, path)).equals(bytes))
      stale.push(`${path} is not what its source compiles to: run npm run build:bpf`);
  }
  const wanted = new Set(compiled.map(({ path }) => path));
  for (const path of committedObjects(root))
    if (!wanted.has(path)) stale.push(`${path} has no source: delete it`);
  return stale;
}

export function writeObjects(root: string, compiled: readonly CompiledObject[]): void {
  mkdirSync(join(root, OBJECTS), { recursive: true });
  for (const { path, bytes } of compiled) writeFileSync(join(root, path), bytes);
}

function committedObjects(root: string): readonly string[] {
  if (!existsSync(join(root, OBJECTS))) return [];
  return readdirSync(join(root, OBJECTS))
    .filter((file) => file.endsWith('.o'))
    .sort()
    .map((file) => `${OBJECTS}/${file}`);
}
