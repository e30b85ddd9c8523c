import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const MULTIARCH = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';

/** What tests and benchmarks use beside npm packages: the command or the file, and Debian's name for its package. */
const PROGRAMS = {
  chromium: { command: 'chromium', debian: 'chromium fonts-dejavu-core' },
  python3: { command: 'python3', debian: 'python3' },
  pip: { command: 'pip3', debian: 'python3-pip' },
  openssl: { command: 'openssl', debian: 'openssl' },
  ip: { command: 'ip', debian: 'iproute2' },
  libbpf: { file: `/usr/lib/${MULTIARCH}/libbpf.so.1`, debian: 'libbpf1' },
  go: { command: 'go', debian: 'golang-go' },
  ping: { command: 'ping', debian: 'iputils-ping' },
  dig: { command: 'dig', debian: 'bind9-dnsutils' },
  curl: { command: 'curl', debian: 'curl' },
  wrk: { command: 'wrk', debian: 'wrk' },
  taskset: { command: 'taskset', debian: 'util-linux' },
  nginx: { command: 'nginx', debian: 'nginx-light' },
  clang: { command: 'clang-19', debian: 'clang-19' },
  lld: { command: 'ld.lld-19', debian: 'lld-19' },
  'llvm-strip': { command: 'llvm-strip-19', debian: 'llvm-19' },
  'libbpf-headers': { file: '/usr/include/bpf/bpf_helpers.h', debian: 'libbpf-dev linux-libc-dev' },
  iptables: { command: 'iptables', debian: 'iptables' },
  nft: { command: 'nft', debian: 'nftables' },
  tcpdump: { command: 'tcpdump', debian: 'tcpdump' },
  bpftool: { command: 'bpftool', debian: 'bpftool' },
  'redis-server': { command: 'redis-server', debian: 'redis-server redis-tools' },
  haproxy: { command: 'haproxy', debian: 'haproxy' },
};

function hasCommand(command) {
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  return path.split(':').some((directory) => directory !== '' && existsSync(`${directory}/${command}`));
}

function isThere(name) {
  const { command, file } = PROGRAMS[name];
  return file === undefined ? hasCommand(command) : existsSync(file);
}

/**
 * Installs what is missing of the named programs, as root on Debian or Ubuntu; otherwise names the exact command.
 * Returns the names still missing, so that the caller can go on with everything else.
 */
export function ensurePrograms(names) {
  const missing = names.filter((name) => !isThere(name));
  if (missing.length === 0) return [];
  const packages = missing.map((name) => PROGRAMS[name].debian);
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  const canInstall = process.getuid?.() === 0 && hasCommand('apt-get');
  if (!canInstall) {
    process.stderr.write(`Missing: ${missing.join(', ')}. On Debian or Ubuntu: sudo ${command}\n`);
    return missing;
  }
  process.stderr.write(`Installing system packages: ${packages.join(', ')} …\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const run = (line) => spawnSync('sh', ['-c', line], { stdio: ['ignore', 'ignore', 'inherit'], env });
  // Another package manager may be at work on a machine that has just started.
  const patient = '-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3';
  run(`apt-get update -qq ${patient}`);
  run(`apt-get install -y -qq ${patient} --no-install-recommends ${packages.join(' ')} >/dev/null`);
  return missing.filter((name) => !isThere(name));
}
