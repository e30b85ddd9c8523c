import { closeSync, openSync } from 'node:fs';
import { KernelError } from './errors.ts';
import { checkedErrno, libc } from './native.ts';

const CLONE_NEWNET = 0x40000000;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

/** A network namespace: a path (`/run/netns/x`, `/proc/1/ns/net`), an open file of one, or the process's own. */
export type Netns = string | number | undefined;

/**
 * Runs `task` with the calling thread inside a namespace and returns to the one it was in, also when `task` throws.
 * `task` must be synchronous: what it awaited would go on elsewhere, so a Promise is refused. Sockets that it opens stay
 * in the namespace. Throws `KernelError` (`EPERM`: root is needed; `EINVAL`: no network namespace) or what `openSync`
 * throws where the path is gone. See setns(2).
 */
export function inNetns<T>(netns: Netns, task: () => T): T {
  if (netns === undefined) return synchronous(task);
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const target = typeof netns === 'string' ? openSync(netns, 'r') : netns;
    try {
      checkedErrno(`enter the network namespace ${netns}`, libc().setns(target, CLONE_NEWNET));
    } finally {
      if (typeof netns === 'string') closeSync(target);
    }
    try {
      return synchronous(task);
    } finally {
      // Without the way back every later socket of this process would be another namespace's.
      if (libc().setns(home, CLONE_NEWNET) < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

function synchronous<T>(task: () => T): T {
  const result = task();
  if (result instanceof Promise)
    throw new TypeError('inNetns runs synchronous work only: what is awaited runs in the other namespace');
  return result;
}

/** The kernel's number of a namespace (Linux 5.14), as `bpf_get_netns_cookie` gives it in programs; never given twice. */
export function netnsCookie(netns: Netns): bigint {
  return inNetns(netns, () => {
    const socket = checkedErrno('open a socket', libc().socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
    try {
      const value = Buffer.alloc(8);
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(value.length);
      const result = libc().getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, value, bytes);
      checkedErrno('read the cookie of a network namespace', result);
      return value.readBigUInt64LE();
    } finally {
      closeSync(socket);
    }
  });
}

/** Whether two names mean the same namespace. */
export function sameNetns(one: Netns, other: Netns): boolean {
  return netnsCookie(one) === netnsCookie(other);
}

/** `KernelError` of a path that isn't there, or of a file that is no namespace: both mean that it is gone. */
export function netnsGone(thrown: unknown): boolean {
  if (thrown instanceof KernelError) return thrown.code === 'EINVAL';
  const code = (thrown as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
