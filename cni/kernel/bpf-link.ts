import type { BpfProgram } from './bpf-program.ts';
import { Fd } from './fd.ts';
import { checked, libbpf } from './native.ts';
import { inNetns, type Netns } from './netns.ts';

/** Where a program can stand, by the kernel's number (`enum bpf_attach_type`). */
export const ATTACH = {
  cgroup_inet_sock_create: 2,
  cgroup_sock_ops: 3,
  cgroup_inet4_connect: 10,
  cgroup_inet6_connect: 11,
  cgroup_inet4_post_bind: 12,
  cgroup_inet6_post_bind: 13,
  cgroup_udp4_sendmsg: 14,
  cgroup_udp6_sendmsg: 15,
  cgroup_udp4_recvmsg: 19,
  cgroup_udp6_recvmsg: 20,
  cgroup_getsockopt: 21,
  cgroup_setsockopt: 22,
  cgroup_inet4_getpeername: 29,
  cgroup_inet6_getpeername: 30,
  cgroup_inet4_getsockname: 31,
  cgroup_inet6_getsockname: 32,
  cgroup_inet_sock_release: 34,
  sk_lookup: 36,
  tcx_ingress: 46,
  tcx_egress: 47,
} as const;
export type AttachType = keyof typeof ATTACH;

const OPTIONS_BYTES = 64;
const INFO_BYTES = 64;

export interface LinkInfo {
  readonly type: number;
  readonly id: number;
  readonly programId: number;
  /** The kernel's words 4 to 7 of `bpf_link_info`: tcx has its ifindex (0 once the device is gone) in the first. */
  readonly detail: readonly [number, number, number, number];
}

/** A program's place in the kernel. It ends with its last descriptor and its last pin. */
export class BpfLink implements Disposable {
  readonly #fd: Fd;

  /** Owns `fd`. */
  constructor(fd: Fd) {
    this.#fd = fd;
  }

  get fd(): number {
    return this.#fd.number;
  }

  /** Puts another program of the same kind in place, with no moment between. */
  update(program: BpfProgram): void {
    checked(`replace a program by ${program.name}`, libbpf().linkUpdate(this.fd, program.fd, null));
  }

  info(): LinkInfo {
    const info = Buffer.alloc(INFO_BYTES);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(INFO_BYTES);
    checked('describe a link', libbpf().info(this.fd, info, bytes));
    const word = (index: number) => info.readUInt32LE(16 + index * 4);
    return {
      type: info.readUInt32LE(0),
      id: info.readUInt32LE(4),
      programId: info.readUInt32LE(8),
      detail: [word(0), word(1), word(2), word(3)],
    };
  }

  pin(path: string): void {
    checked(`pin a link at ${path}`, libbpf().pin(this.fd, path));
  }

  /** Takes the program away even where pins hold the link. */
  detach(): void {
    checked('detach a link', libbpf().linkDetach(this.fd));
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

export interface LinkTarget {
  /** A cgroup's folder or a network namespace, opened; for tcx the ifindex of a device. */
  readonly target: number;
  readonly type: AttachType;
  readonly flags?: number;
  /** For tcx: the namespace that the ifindex counts in. */
  readonly netns?: Netns;
}

/**
 * Attaches a program. Throws `EINVAL` where the kernel has no such place (tcx below Linux 6.6: see `attachClsact`),
 * `ENODEV` where there is no such device.
 */
export function createLink(program: BpfProgram, target: LinkTarget): BpfLink {
  const options = target.flags === undefined ? null : Buffer.alloc(OPTIONS_BYTES);
  options?.writeBigUInt64LE(BigInt(OPTIONS_BYTES), 0);
  options?.writeUInt32LE(target.flags ?? 0, 8);
  const fd = inNetns(target.netns, () =>
    libbpf().linkCreate(program.fd, target.target, ATTACH[target.type], options),
  );
  return new BpfLink(new Fd(checked(`attach ${program.name} (${target.type})`, fd)));
}

/** What is pinned at `path`; the caller owns it. */
export function openPinnedLink(path: string): BpfLink {
  return new BpfLink(new Fd(checked(`open the pinned link ${path}`, libbpf().get(path))));
}
