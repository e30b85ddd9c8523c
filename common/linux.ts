/** What of Linux the pod network needs of a machine, for everybody who asks before it starts. */

/** By `ingress_ifindex` of sk_lookup; cni/README.md, "Kernels", has what each hook needs. */
const KERNEL_MIN: KernelVersion = [5, 17];

export type KernelVersion = readonly [major: number, minor: number];

export interface LinuxFacts {
  /** As `process.platform`. */
  readonly platform: string;
  /** The effective user. */
  readonly uid: number;
  /** Bits of capabilities(7) in force. */
  readonly capabilities: bigint;
  /** As `os.release()`: `5.17.0-1-amd64`. */
  readonly kernel: string;
}

const CAP_NET_ADMIN = 12n;
const CAP_SYS_ADMIN = 21n;

/** Why no eBPF pod network can run here, each with a remedy where there is one; empty where it can. */
export function linuxProblems({ platform, uid, capabilities, kernel }: LinuxFacts): string[] {
  if (platform !== 'linux') return ['it needs Linux'];
  const found: string[] = [];
  if (uid !== 0) found.push('it needs root');
  else if (!has(capabilities, CAP_NET_ADMIN) || !has(capabilities, CAP_SYS_ADMIN))
    found.push('this root lacks CAP_NET_ADMIN or CAP_SYS_ADMIN, as in a container');
  if (!kernelAtLeast(kernel, KERNEL_MIN))
    found.push(`it needs Linux ${KERNEL_MIN.join('.')} or newer, and this is ${kernel}`);
  return found;
}

/** Whether a release such as `6.6.0-rc1` is this version or a later one. One that can't be read isn't. */
export function kernelAtLeast(release: string, [major, minor]: KernelVersion): boolean {
  const [, first, second] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
}

/** Bits of the capabilities in force, from the text of /proc/self/status. */
export function effectiveCapabilities(status: string): bigint {
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
}

/** Where cgroup v2 is mounted, also where v1 is beside it, from the text of /proc/self/mounts. */
export function cgroup2Mounts(mounts: string): string[] {
  return mounts
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , kind]) => kind === 'cgroup2')
    .map(([, place = '']) => place);
}

function has(set: bigint, bit: bigint): boolean {
  return ((set >> bit) & 1n) === 1n;
}
