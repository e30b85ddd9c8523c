import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { KernelError } from './errors.ts';
import { Fd } from './fd.ts';
import { lastErrno, libc } from './native.ts';

/** flock(2), <sys/file.h>. */
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes a file for this process alone, until the descriptor is closed or the process ends, however it ends. The file is
 * made where it is missing. Undefined: another process has it. Throws what `fs.openSync` throws, or a `KernelError`.
 */
export function lockFile(path: string): Fd | undefined {
  const fd = openSync(path, 'a', 0o600);
  if (libc().flock(fd, LOCK_EX | LOCK_NB) < 0) {
    const errno = lastErrno();
    closeSync(fd);
    if (errno === constants.errno.EWOULDBLOCK) return undefined;
    throw new KernelError(`lock ${path}`, errno);
  }
  // Whoever had it before may have removed the file: the lock of one that nobody finds any more keeps nobody out.
  if (statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return new Fd(fd);
  closeSync(fd);
  return undefined;
}
