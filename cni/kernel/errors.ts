import { constants } from 'node:os';
import { HeddleError } from '../../common/errors.ts';

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, value]) => [value, name]),
);

/** What a person can do about an error number, where one sentence covers every way to it. */
const HINTS: Readonly<Record<string, string>> = {
  EPERM: 'run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN',
  EACCES: 'run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN',
  EMFILE: 'raise the limit of open files (ulimit -n)',
  ENOMEM: 'free memory, or raise the memory limit of this cgroup',
  EOPNOTSUPP: 'this kernel cannot do it; Heddle needs Linux 5.17, 6.6 is better',
  ENOSYS: 'this kernel cannot do it; Heddle needs Linux 5.17, 6.6 is better',
};

/** A refusal of the kernel. `code` is the name of the error number (`ENOENT`), `errno` the number, positive. */
export class KernelError extends HeddleError {
  readonly errno: number;
  constructor(what: string, errno: number, details = '') {
    const name = errnoName(errno);
    const hint = HINTS[name] === undefined ? '' : `; ${HINTS[name]}`;
    super(name, `${what}: ${name}${details === '' ? '' : ` (${details})`}${hint}`);
    this.name = 'KernelError';
    this.errno = errno;
  }
}

/** `ENOENT` for 2; `errno 524` for a number that has no public name. */
function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** Whether `thrown` is the kernel's refusal with one of these names, such as `ENOENT`. */
export function isKernelError(thrown: unknown, ...names: readonly string[]): thrown is KernelError {
  return thrown instanceof KernelError && (names.length === 0 || names.includes(thrown.code));
}
