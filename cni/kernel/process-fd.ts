import { Fd } from './fd.ts';
import { checkedErrno, libc } from './native.ts';

const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

/** A handle of a process that its number can't be taken from, see pidfd_open(2). Throws `ESRCH` where it is gone. */
export function pidfdOpen(pid: number): Fd {
  return new Fd(checkedErrno(`open process ${pid}`, libc().syscall(SYS_PIDFD_OPEN, pid, 0, 0)));
}

/** A copy of another process's descriptor, see pidfd_getfd(2). Throws `EBADF` (closed meanwhile), `ESRCH`, `EPERM`. */
export function pidfdGetFd(process: Fd, fd: number): Fd {
  const copy = libc().syscall(SYS_PIDFD_GETFD, process.number, fd, 0);
  return new Fd(checkedErrno(`copy descriptor ${fd} of another process`, copy));
}
