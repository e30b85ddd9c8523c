const MINUTE_MS = 60_000;

/** What both tiers on a real Kubernetes are like. Its parts are built once and cached, which the timeouts leave out. */
const KUBERNETES = {
  root: true,
  prepare: [
    ['test/kubernetes/cluster/main.ts', 'build'],
    ['scripts/images.ts', '--tag', 'test', '--demo'],
  ],
  prepareTimeoutMs: 50 * MINUTE_MS,
  needs: ['ip', 'go', 'openssl', 'taskset', 'python3', 'nft', 'curl'],
  optional: [],
  // Each has a cluster of its own, and mostly waits for it.
  concurrency: 2,
  testTimeoutMs: 20 * MINUTE_MS,
};

/**
 * The tiers of `npm test`, in order. `needs` are programs of system-packages.mjs; without one that isn't `optional` the
 * tier can't run. `proofs` are programs that only a run of everything installs (HEDDLE_REQUIRE_ALL_TIERS=1): elsewhere
 * what they prove is skipped, and said. `command` runs one program instead of test files; `prepare` some before them.
 * A tier with `root` makes network namespaces and loads eBPF programs. One that stands `apart` runs where it is named.
 */
export const TIERS = [
  {
    name: 'check',
    command: ['scripts/check.ts'],
    needs: [],
    proofs: ['clang', 'lld', 'llvm-strip', 'libbpf-headers'],
    optional: [],
    timeoutMs: 5 * MINUTE_MS,
  },
  {
    name: 'unit',
    files: [
      '{common,model,proxy,sources,control-plane,injector,cni,cli,scripts}/**/*.test.ts',
      'test/{support,bench}/**/*.test.ts',
      'test/kubernetes/{cluster,support}/*.test.ts',
    ],
    needs: [],
    optional: [],
    concurrency: 2,
    testTimeoutMs: 2 * MINUTE_MS,
    timeoutMs: 8 * MINUTE_MS,
  },
  {
    name: 'integration',
    files: ['test/integration/**/*.test.ts'],
    needs: ['python3', 'pip', 'openssl', 'curl', 'nginx'],
    optional: ['curl', 'nginx'],
    concurrency: 1,
    testTimeoutMs: 3 * MINUTE_MS,
    timeoutMs: 18 * MINUTE_MS,
  },
  {
    name: 'network',
    files: [
      'test/network/{capture,cluster,cni-plugin,dns,kernel,local-mesh,maps,packets,policy,programs,sequences,setup,sockets}/**/*.test.ts',
    ],
    root: true,
    needs: [
      ...['ip', 'clang', 'libbpf-headers', 'libbpf', 'go', 'dig', 'nft', 'ping', 'python3'],
      ...['curl', 'tcpdump', 'bpftool', 'redis-server'],
    ],
    optional: [],
    concurrency: 1,
    testTimeoutMs: 6 * MINUTE_MS,
    timeoutMs: 20 * MINUTE_MS,
  },
  {
    name: 'browser',
    files: ['test/browser/**/*.test.ts'],
    needs: ['chromium'],
    optional: [],
    concurrency: 1,
    testTimeoutMs: 2 * MINUTE_MS,
    timeoutMs: 8 * MINUTE_MS,
  },
  {
    name: 'kubernetes',
    apart: true,
    files: ['test/kubernetes/*.test.ts', 'test/kubernetes/chart/**/*.test.ts'],
    ...KUBERNETES,
    prepare: KUBERNETES.prepare.map((command) =>
      command.includes('build') ? [...command, '--own-cases'] : command,
    ),
    timeoutMs: 90 * MINUTE_MS,
  },
  {
    name: 'kubernetes-smoke',
    apart: true,
    files: [
      'test/kubernetes/{clusters-leave-nothing-behind,nodes-are-as-pods-expect-them}.test.ts',
      'test/kubernetes/labelled-namespaces-are-meshed.test.ts',
    ],
    ...KUBERNETES,
    timeoutMs: 20 * MINUTE_MS,
  },
];
