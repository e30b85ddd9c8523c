import { HeddleError } from '../../common/errors.ts';
import { BpfMap } from './bpf-map.ts';
import { BpfProgram } from './bpf-program.ts';
import { KernelError } from './errors.ts';
import { Fd } from './fd.ts';
import { captureMessages } from './libbpf-messages.ts';
import { bytesAt, checked, checkedErrno, lastErrno, libbpf, libc, memoryAt, type Pointer } from './native.ts';

const BTF_KIND_DATASEC = 15;
const F_DUPFD_CLOEXEC = 1030;
/** Lines of the verifier's log that an error carries: its end says what was refused. */
const verifierLinesMax = 40;

/**
 * A compiled object, opened and not yet loaded: here its variables, sizes and shared maps are set. Loading or disposing
 * ends it.
 */
export class OpenBpfObject implements Disposable {
  readonly path: string;
  #object: Pointer | undefined;

  constructor(path: string, object: Pointer) {
    this.path = path;
    this.#object = object;
  }

  mapNames(): string[] {
    return this.#maps().map((map) => libbpf().mapName(map));
  }

  programNames(): string[] {
    return this.#programs().map((program) => libbpf().programName(program));
  }

  /** Sets `const volatile` variables by their names; a length other than the variable's is refused. */
  setRodata(values: Readonly<Record<string, Uint8Array>>): this {
    const variables = readVariables(this.#open, this.path);
    const sizeBytes = Buffer.alloc(8);
    const section = this.#maps().find((map) => libbpf().mapName(map).endsWith('.rodata'));
    const memory = section === undefined ? null : libbpf().mapInitialValue(section, sizeBytes);
    for (const [name, value] of Object.entries(values)) {
      const variable = variables.get(name);
      if (variable === undefined || memory === null)
        throw new HeddleError('bpf-object', `${this.path} has no constant ${name}`);
      if (variable.bytes !== value.length)
        throw new HeddleError(
          'bpf-object',
          `${name} of ${this.path} has ${variable.bytes} bytes, not ${value.length}`,
        );
      memoryAt(memory, Number(sizeBytes.readBigUInt64LE())).set(value, variable.offset);
    }
    return this;
  }

  setMaxEntries(map: string, entries: number): this {
    const result = libbpf().mapSetMaxEntries(this.#map(map), entries);
    checked(`give ${map} of ${this.path} ${entries} entries`, result);
    return this;
  }

  /** Uses a map that exists instead of making its own. The kinds and sizes must agree. */
  reuseMap(name: string, map: BpfMap): this {
    checked(`share ${name} with ${this.path}`, libbpf().mapReuseFd(this.#map(name), map.fd));
    return this;
  }

  /** Whether a map is of the kind and the sizes that the object declares; true of one that it doesn't declare. */
  agreesWith(name: string, map: BpfMap): boolean {
    if (!this.mapNames().includes(name)) return true;
    const declared = this.#map(name);
    return (
      libbpf().mapType(declared) === map.type &&
      libbpf().mapKeySize(declared) === map.keyBytes &&
      libbpf().mapValueSize(declared) === map.valueBytes &&
      libbpf().mapMaxEntries(declared) === map.maxEntries
    );
  }

  /** As `reuseMap`, for those of `maps` that the object declares. */
  reuseMaps(maps: Iterable<BpfMap | readonly [string, BpfMap]>): this {
    const declared = new Set(this.mapNames());
    for (const one of maps) {
      const [name, map] = one instanceof BpfMap ? ([one.name, one] as const) : one;
      if (declared.has(name)) this.reuseMap(name, map);
    }
    return this;
  }

  /** Loads these programs only. */
  onlyPrograms(names: readonly string[]): this {
    for (const program of this.#programs()) {
      const wanted = names.includes(libbpf().programName(program));
      checked(`choose the programs of ${this.path}`, libbpf().programSetAutoload(program, wanted));
    }
    return this;
  }

  /**
   * Makes the maps and lets the verifier judge the programs. Throws `KernelError`, whose message holds the end of the
   * verifier's log; its code `EINVAL` or `EACCES` then means that this kernel refuses a program.
   */
  load(): BpfObject {
    const object = this.#open;
    const { result, text } = captureMessages(() => libbpf().load(object));
    if (result < 0) {
      this[Symbol.dispose]();
      throw new KernelError(`load ${this.path}`, -result, lastLines(text));
    }
    this.#object = undefined;
    return new BpfObject(this.path, object);
  }

  [Symbol.dispose](): void {
    if (this.#object !== undefined) libbpf().close(this.#object);
    this.#object = undefined;
  }

  get #open(): Pointer {
    if (this.#object === undefined) throw new HeddleError('bpf-object', `${this.path} is no longer open`);
    return this.#object;
  }

  #map(name: string): Pointer {
    const map = this.#maps().find((one) => libbpf().mapName(one) === name);
    if (map === undefined) throw new HeddleError('bpf-object', `${this.path} has no map ${name}`);
    return map;
  }

  #maps(): Pointer[] {
    return listOf((before) => libbpf().nextMap(this.#open, before));
  }

  #programs(): Pointer[] {
    return listOf((before) => libbpf().nextProgram(this.#open, before));
  }
}

/** A loaded object: its maps and programs live until it is disposed, and beyond that where they are pinned or attached. */
export class BpfObject implements Disposable {
  readonly path: string;
  readonly maps: ReadonlyMap<string, BpfMap>;
  readonly programs: ReadonlyMap<string, BpfProgram>;

  /** Takes the descriptors out of libbpf's object and ends that, so that there is one owner. */
  constructor(path: string, object: Pointer) {
    this.path = path;
    const maps = listOf((before) => libbpf().nextMap(object, before)).filter(
      (map) => libbpf().mapFd(map) >= 0,
    );
    this.maps = new Map(
      maps.map((map) => {
        const name = libbpf().mapName(map);
        return [name, new BpfMap(duplicate(libbpf().mapFd(map)), name)] as const;
      }),
    );
    const programs = listOf((before) => libbpf().nextProgram(object, before)).filter(
      (program) => libbpf().programFd(program) >= 0,
    );
    this.programs = new Map(
      programs.map((program) => {
        const name = libbpf().programName(program);
        return [name, new BpfProgram(name, duplicate(libbpf().programFd(program)))] as const;
      }),
    );
    libbpf().close(object);
  }

  /** Throws `bpf-object` where there is none. */
  map(name: string): BpfMap {
    const map = this.maps.get(name);
    if (map === undefined) throw new HeddleError('bpf-object', `${this.path} has no map ${name}`);
    return map;
  }

  /** Throws `bpf-object` where there is none, or it wasn't loaded. */
  program(name: string): BpfProgram {
    const program = this.programs.get(name);
    if (program === undefined) throw new HeddleError('bpf-object', `${this.path} has no program ${name}`);
    return program;
  }

  [Symbol.dispose](): void {
    for (const map of this.maps.values()) map[Symbol.dispose]();
    for (const program of this.programs.values()) program[Symbol.dispose]();
  }
}

/** Reads a compiled object. Throws `KernelError` where the file is missing or no BPF object. */
export function openObject(path: string): OpenBpfObject {
  const { result, text } = captureMessages(() => {
    const object = libbpf().open(path, null);
    return { object, errno: object === null ? lastErrno() : 0 };
  });
  if (result.object === null) throw new KernelError(`open ${path}`, result.errno, lastLines(text));
  return new OpenBpfObject(path, result.object);
}

interface Variable {
  readonly offset: number;
  readonly bytes: number;
}

/** Constants of `.rodata` by name, from the object's BTF (section BTF_KIND_DATASEC of the kernel's BTF documentation). */
function readVariables(object: Pointer, path: string): Map<string, Variable> {
  const found = new Map<string, Variable>();
  const btf = libbpf().btf(object);
  const id = btf === null ? -1 : libbpf().btfFind(btf, '.rodata', BTF_KIND_DATASEC);
  const section = btf === null || id < 0 ? null : libbpf().btfType(btf, id);
  if (btf === null || section === null) return found;
  const count = bytesAt(section, 12).readUInt32LE(4) & 0xffff;
  const entries = bytesAt(section, 12 + count * 12);
  for (let at = 12; at < entries.length; at += 12) {
    const type = libbpf().btfType(btf, entries.readUInt32LE(at));
    const name = type === null ? null : libbpf().btfName(btf, bytesAt(type, 4).readUInt32LE(0));
    if (name === null) throw new HeddleError('bpf-object', `the BTF of ${path} is broken`);
    found.set(name, { offset: entries.readUInt32LE(at + 4), bytes: entries.readUInt32LE(at + 8) });
  }
  return found;
}

function listOf(next: (before: Pointer | null) => Pointer | null): Pointer[] {
  const all: Pointer[] = [];
  for (let one = next(null); one !== null; one = next(one)) all.push(one);
  return all;
}

/** Another descriptor of the same thing, closed at exec. */
function duplicate(fd: number): Fd {
  return new Fd(checkedErrno('duplicate a file descriptor', libc().fcntl(fd, F_DUPFD_CLOEXEC, 3)));
}

function lastLines(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-verifierLinesMax).join('\n');
}
