import koffi from 'koffi';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { KernelError } from './errors.ts';

/** An address in this process, as koffi writes it. */
export type Pointer = bigint;
type Bytes = Uint8Array | Pointer | null;

/** Functions of libbpf that are used, each as `bpf.h` and `libbpf.h` of 1.1 declare it. Results < 0 are -errno. */
interface Libbpf {
  setPrint(callback: Pointer | null): Pointer | null;
  possibleCpus(): number;
  open(path: string, options: null): Pointer | null;
  load(object: Pointer): number;
  close(object: Pointer): void;
  nextMap(object: Pointer, map: Pointer | null): Pointer | null;
  mapName(map: Pointer): string;
  mapFd(map: Pointer): number;
  mapReuseFd(map: Pointer, fd: number): number;
  mapSetMaxEntries(map: Pointer, entries: number): number;
  mapType(map: Pointer): number;
  mapKeySize(map: Pointer): number;
  mapValueSize(map: Pointer): number;
  mapMaxEntries(map: Pointer): number;
  mapInitialValue(map: Pointer, size: Uint8Array): Pointer | null;
  mapIsInternal(map: Pointer): boolean;
  nextProgram(object: Pointer, program: Pointer | null): Pointer | null;
  programName(program: Pointer): string;
  programFd(program: Pointer): number;
  programSetAutoload(program: Pointer, load: boolean): number;
  btf(object: Pointer): Pointer | null;
  btfFind(btf: Pointer, name: string, kind: number): number;
  btfType(btf: Pointer, id: number): Pointer | null;
  btfName(btf: Pointer, offset: number): string | null;
  mapUpdate(fd: number, key: Bytes, value: Uint8Array, flags: number): number;
  mapLookup(fd: number, key: Uint8Array, value: Uint8Array): number;
  mapDelete(fd: number, key: Uint8Array): number;
  mapNextKey(fd: number, key: Uint8Array | null, next: Uint8Array): number;
  mapUpdateBatch(fd: number, keys: Uint8Array, values: Uint8Array, count: Uint8Array, options: null): number;
  mapDeleteBatch(fd: number, keys: Uint8Array, count: Uint8Array, options: null): number;
  mapLookupBatch(
    fd: number,
    from: Uint8Array | null,
    to: Uint8Array,
    keys: Uint8Array,
    values: Uint8Array,
    count: Uint8Array,
    options: null,
  ): number;
  pin(fd: number, path: string): number;
  get(path: string): number;
  info(fd: number, info: Uint8Array, bytes: Uint8Array): number;
  linkCreate(program: number, target: number, type: number, options: Uint8Array | null): number;
  linkUpdate(link: number, program: number, options: null): number;
  linkDetach(link: number): number;
  testRun(program: number, options: Uint8Array): number;
  tcHookCreate(hook: Uint8Array): number;
  tcAttach(hook: Uint8Array, options: Uint8Array): number;
  tcDetach(hook: Uint8Array, options: Uint8Array): number;
  tcQuery(hook: Uint8Array, options: Uint8Array): number;
  ringNew(fd: number, callback: Pointer, context: null, options: null): Pointer | null;
  ringFree(ring: Pointer): void;
  ringConsume(ring: Pointer): number;
}

const LIBBPF: Readonly<Record<keyof Libbpf, string>> = {
  setPrint: 'void *libbpf_set_print(void *fn)',
  possibleCpus: 'int libbpf_num_possible_cpus()',
  open: 'void *bpf_object__open_file(const char *path, void *opts)',
  load: 'int bpf_object__load(void *obj)',
  close: 'void bpf_object__close(void *obj)',
  nextMap: 'void *bpf_object__next_map(void *obj, void *map)',
  mapName: 'const char *bpf_map__name(void *map)',
  mapFd: 'int bpf_map__fd(void *map)',
  mapReuseFd: 'int bpf_map__reuse_fd(void *map, int fd)',
  mapSetMaxEntries: 'int bpf_map__set_max_entries(void *map, uint32_t n)',
  mapType: 'int bpf_map__type(void *map)',
  mapKeySize: 'uint32_t bpf_map__key_size(void *map)',
  mapValueSize: 'uint32_t bpf_map__value_size(void *map)',
  mapMaxEntries: 'uint32_t bpf_map__max_entries(void *map)',
  mapInitialValue: 'void *bpf_map__initial_value(void *map, void *size)',
  mapIsInternal: 'bool bpf_map__is_internal(void *map)',
  nextProgram: 'void *bpf_object__next_program(void *obj, void *prog)',
  programName: 'const char *bpf_program__name(void *prog)',
  programFd: 'int bpf_program__fd(void *prog)',
  programSetAutoload: 'int bpf_program__set_autoload(void *prog, bool load)',
  btf: 'void *bpf_object__btf(void *obj)',
  btfFind: 'int btf__find_by_name_kind(void *btf, const char *name, uint32_t kind)',
  btfType: 'void *btf__type_by_id(void *btf, uint32_t id)',
  btfName: 'const char *btf__name_by_offset(void *btf, uint32_t offset)',
  mapUpdate: 'int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)',
  mapLookup: 'int bpf_map_lookup_elem(int fd, void *key, void *value)',
  mapDelete: 'int bpf_map_delete_elem(int fd, void *key)',
  mapNextKey: 'int bpf_map_get_next_key(int fd, void *key, void *next)',
  mapUpdateBatch: 'int bpf_map_update_batch(int fd, void *keys, void *values, void *count, void *opts)',
  mapDeleteBatch: 'int bpf_map_delete_batch(int fd, void *keys, void *count, void *opts)',
  mapLookupBatch:
    'int bpf_map_lookup_batch(int fd, void *from, void *to, void *keys, void *values, void *count, void *opts)',
  pin: 'int bpf_obj_pin(int fd, const char *path)',
  get: 'int bpf_obj_get(const char *path)',
  info: 'int bpf_obj_get_info_by_fd(int fd, void *info, void *len)',
  linkCreate: 'int bpf_link_create(int prog, int target, int type, void *opts)',
  linkUpdate: 'int bpf_link_update(int link, int prog, void *opts)',
  linkDetach: 'int bpf_link_detach(int link)',
  testRun: 'int bpf_prog_test_run_opts(int prog, void *opts)',
  tcHookCreate: 'int bpf_tc_hook_create(void *hook)',
  tcAttach: 'int bpf_tc_attach(void *hook, void *opts)',
  tcDetach: 'int bpf_tc_detach(void *hook, void *opts)',
  tcQuery: 'int bpf_tc_query(void *hook, void *opts)',
  ringNew: 'void *ring_buffer__new(int fd, void *fn, void *ctx, void *opts)',
  ringFree: 'void ring_buffer__free(void *ring)',
  ringConsume: 'int ring_buffer__consume(void *ring)',
};

/** Functions of the C library that are used. Results < 0: see `libcErrno`. */
interface Libc {
  setns(fd: number, type: number): number;
  syscall(number: number, first: number, second: number, third: number): number | bigint;
  fcntl(fd: number, command: number, value: number): number;
  flock(fd: number, operation: number): number;
  socket(domain: number, type: number, protocol: number): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, bytes: Uint8Array): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, bytes: number): number;
  bind(fd: number, address: Uint8Array, bytes: number): number;
  send(fd: number, data: Uint8Array, bytes: number, flags: number): number | bigint;
  recv(fd: number, data: Uint8Array, bytes: number, flags: number): number | bigint;
  mount(
    source: string | null,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ): number;
  umount(target: string, flags: number): number;
  unshare(flags: number): number;
  vsnprintf(text: Uint8Array, bytes: number, format: Pointer, args: Pointer): number;
  clockGettime(clock: number, time: Uint8Array): number;
}

const LIBC: Readonly<Record<keyof Libc, string>> = {
  setns: 'int setns(int fd, int type)',
  syscall: 'long syscall(long n, long a, long b, long c)',
  fcntl: 'int fcntl(int fd, int command, long value)',
  flock: 'int flock(int fd, int operation)',
  socket: 'int socket(int domain, int type, int protocol)',
  getsockopt: 'int getsockopt(int fd, int level, int name, void *value, void *len)',
  setsockopt: 'int setsockopt(int fd, int level, int name, void *value, uint32_t len)',
  bind: 'int bind(int fd, void *addr, uint32_t len)',
  send: 'intptr_t send(int fd, void *data, size_t n, int flags)',
  recv: 'intptr_t recv(int fd, void *data, size_t n, int flags)',
  mount:
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  umount: 'int umount2(const char *target, int flags)',
  unshare: 'int unshare(int flags)',
  vsnprintf: 'int vsnprintf(void *text, size_t n, void *format, void *args)',
  clockGettime: 'int clock_gettime(int clock, void *time)',
};

let knownLibbpf: Libbpf | undefined;
let knownLibc: Libc | undefined;

/**
 * libbpf 1.1 or newer, loaded at the first use, so that a machine without it can run everything else. Throws
 * `libbpf-missing`, whose message says what to install.
 */
export function libbpf(): Libbpf {
  knownLibbpf ??= bound<Libbpf>(
    'libbpf.so.1',
    LIBBPF,
    'libbpf-missing',
    () =>
      'install libbpf 1.1 or newer: the package libbpf1 on Debian and Ubuntu, libbpf on Fedora, Arch and Alpine',
  );
  return knownLibbpf;
}

/** The C library. Throws `libc-missing` where it isn't glibc on Linux. */
export function libc(): Libc {
  knownLibc ??= bound<Libc>(
    'libc.so.6',
    LIBC,
    'libc-missing',
    () => 'the pod network needs Linux with glibc',
  );
  return knownLibc;
}

function bound<T>(
  file: string,
  declarations: Readonly<Record<keyof T, string>>,
  code: string,
  advice: () => string,
): T {
  try {
    const library = koffi.load(file);
    const names = Object.entries<string>(declarations);
    return Object.fromEntries(names.map(([name, declaration]) => [name, library.func(declaration)])) as T;
  } catch (thrown) {
    throw new HeddleError(code, `${file} can't be used (${messageOf(thrown)}): ${advice()}`, {
      cause: thrown,
    });
  }
}

/** A result of a libbpf call, or the error it stands for. */
export function checked(what: string, result: number, details = ''): number {
  if (result < 0) throw new KernelError(what, -result, details);
  return result;
}

/** A result of a libc call, or the error that errno says. Call nothing in between. */
export function checkedErrno(what: string, result: number | bigint): number {
  const number = Number(result);
  if (number < 0) throw new KernelError(what, koffi.errno());
  return number;
}

/** errno of the last call, positive. */
export function lastErrno(): number {
  return koffi.errno();
}

/** A copy of `bytes` bytes at an address. */
export function bytesAt(pointer: Pointer, bytes: number): Buffer {
  return Buffer.from(new Uint8Array(koffi.view(pointer, bytes)));
}

/** The bytes at an address themselves: only while their owner lives. */
export function memoryAt(pointer: Pointer, bytes: number): Buffer {
  return Buffer.from(koffi.view(pointer, bytes));
}

/** The address of a buffer; the caller keeps the buffer alive while the kernel may use it. */
export function addressOf(bytes: Uint8Array): Pointer {
  return koffi.address(bytes);
}

/** koffi takes each name once. */
const prototypes = new Map<string, ReturnType<typeof koffi.pointer>>();

/** Makes a function callable from C. `release` ends that. */
export function callback<A extends readonly unknown[]>(
  prototype: string,
  task: (...values: A) => number,
): { readonly pointer: Pointer; release(): void } {
  const type = prototypes.get(prototype) ?? koffi.pointer(koffi.proto(prototype));
  prototypes.set(prototype, type);
  const pointer = koffi.register(task, type);
  return { pointer, release: () => koffi.unregister(pointer) };
}
