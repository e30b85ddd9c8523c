import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { BPF_TOOLCHAIN } from './bpf-objects.ts';

/** The compiler of the eBPF objects, and its linker. */
const LINKER = 'ld.lld-19';
const SOURCES = 'cni/plugin';

/** Node's names of architectures, and clang's. */
const TARGETS = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const;
const ARCHITECTURES = ['x64', 'arm64'] as const;
type Architecture = (typeof ARCHITECTURES)[number];

/** It is copied to every node and started several times for every pod. */
const pluginBytesMax = 20 * 1024;
const COMPILE_TIMEOUT_MS = 120_000;

const COMPILE = [
  ...['-std=gnu17', '-Os', '-Wall', '-Wextra', '-Werror'],
  ...['-ffreestanding', '-fno-builtin', '-nostdinc', '-fno-pic', '-fno-stack-protector', '-fno-ident'],
  ...['-fno-asynchronous-unwind-tables', '-ffunction-sections'],
];
const LINK = [
  ...['-static', '-nostdlib', '--gc-sections', '--build-id=none'],
  ...['-z', 'noexecstack', '-z', 'noseparate-code', '-z', 'max-page-size=4096'],
];

interface PluginBinary {
  /** From the root of the checkout: `cni/plugin/bin/x64/heddle-cni`. */
  readonly path: string;
  readonly bytes: Buffer;
}

/** Why the plugin can't be built here, with what to install; undefined where it can. */
export function pluginToolchainProblem(): string | undefined {
  const install = 'install clang-19 lld-19 llvm-19 (Debian 12 or newer)';
  const found = spawnSync(BPF_TOOLCHAIN.clang, ['--version'], { encoding: 'utf8' });
  if (found.status !== 0) return `there is no ${BPF_TOOLCHAIN.clang}: ${install}`;
  if (!found.stdout.includes(`version ${BPF_TOOLCHAIN.version}`))
    return `${BPF_TOOLCHAIN.clang} is not ${BPF_TOOLCHAIN.version}: other versions give other bytes`;
  for (const tool of [LINKER, BPF_TOOLCHAIN.strip])
    if (spawnSync(tool, ['--version']).status !== 0) return `there is no ${tool}: ${install}`;
  return undefined;
}

/** Builds heddle-cni for every architecture. Throws with the compiler's own words where it doesn't compile. */
export function buildPlugins(root: string): readonly PluginBinary[] {
  const directory = mkdtempSync(join(tmpdir(), 'heddle-plugin-'));
  try {
    return ARCHITECTURES.map((architecture) => ({
      path: `${SOURCES}/bin/${architecture}/heddle-cni`,
      bytes: buildOne(root, architecture, join(directory, architecture)),
    }));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function buildOne(root: string, architecture: Architecture, output: string): Buffer {
  const target = `--target=${TARGETS[architecture]}`;
  run(root, BPF_TOOLCHAIN.clang, [target, ...COMPILE, '-c', `${SOURCES}/heddle-cni.c`, '-o', `${output}.o`]);
  run(root, LINKER, [...LINK, '-o', output, `${output}.o`]);
  run(root, BPF_TOOLCHAIN.strip, ['--strip-all', '-R', '.comment', output]);
  return readFileSync(output);
}

function run(root: string, command: string, args: readonly string[]): void {
  const done = spawnSync(command, args, { cwd: root, encoding: 'utf8', timeout: COMPILE_TIMEOUT_MS });
  if (done.status !== 0)
    throw new Error(`${command} ${args.join(' ')}\n${done.error?.message ?? ''}${done.stderr}`);
}

/** Committed plugins that differ from what was built, and those that grew too large, each with what to do. */
export function stalePlugins(root: string, built: readonly PluginBinary[]): readonly string[] {
  return built.flatMap(({ path, bytes }) => {
    const stale: string[] = [];
    if (bytes.length > pluginBytesMax)
      stale.push(`${path}: ${bytes.length} bytes, ${pluginBytesMax} at most`);
    if (!existsSync(join(root, path)) || !readFileSync(join(root, path)).equals(bytes))
      stale.push(`${path} is not what its sources give: run npm run build:plugin`);
    return stale;
  });
}

export function writePlugins(root: string, built: readonly PluginBinary[]): void {
  for (const { path, bytes } of built) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), bytes);
    chmodSync(join(root, path), 0o755);
  }
}
