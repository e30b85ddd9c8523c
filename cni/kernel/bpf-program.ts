import { KernelError } from './errors.ts';
import type { Fd } from './fd.ts';
import { addressOf, checked, libbpf } from './native.ts';

const INFO_BYTES = 232;
const TEST_OPTIONS_BYTES = 80;
/** BPF_PROG_TEST_RUN writes no more than the packet it was given and what the program added to it. */
const testGrowthBytesMax = 256;

export interface ProgramInfo {
  readonly type: number;
  readonly id: number;
  /** Hash of the instructions, 16 hex digits: equal for equal programs. */
  readonly tag: string;
  readonly name: string;
}

export interface TestRun {
  /** The packet; programs that have none (sk_lookup) get only `context`. */
  readonly data?: Uint8Array;
  /** The context structure: `__sk_buff`, `bpf_sk_lookup`. */
  readonly context?: Uint8Array;
  /** How many times it runs; for measuring. */
  readonly repeat?: number;
}

export interface TestResult {
  /** What the program returned, unsigned. */
  readonly returned: number;
  /** The packet as the program left it. */
  readonly data: Buffer;
  readonly context: Buffer;
  /** Average of a run. */
  readonly durationNs: number;
}

/** A loaded program. Attached or pinned, it outlives its descriptor. */
export class BpfProgram implements Disposable {
  readonly name: string;
  readonly #fd: Fd;

  /** Owns `fd`. */
  constructor(name: string, fd: Fd) {
    this.name = name;
    this.#fd = fd;
  }

  get fd(): number {
    return this.#fd.number;
  }

  info(): ProgramInfo {
    return programInfo(this.fd);
  }

  pin(path: string): void {
    checked(`pin ${this.name} at ${path}`, libbpf().pin(this.fd, path));
  }

  /** BPF_PROG_TEST_RUN. Throws `EINVAL` (a packet shorter than an Ethernet header, a field of the context that must be zero), `ENOTSUPP` = errno 524 for kinds without it. */
  testRun(run: TestRun): TestResult {
    const dataOut = Buffer.alloc(run.data === undefined ? 0 : run.data.length + testGrowthBytesMax);
    const contextOut = Buffer.alloc(run.context?.length ?? 0);
    const options = Buffer.alloc(TEST_OPTIONS_BYTES);
    options.writeBigUInt64LE(BigInt(TEST_OPTIONS_BYTES), 0);
    if (run.data !== undefined) {
      options.writeBigUInt64LE(addressOf(run.data), 8);
      options.writeBigUInt64LE(addressOf(dataOut), 16);
      options.writeUInt32LE(run.data.length, 24);
      options.writeUInt32LE(dataOut.length, 28);
    }
    if (run.context !== undefined) {
      options.writeBigUInt64LE(addressOf(run.context), 32);
      options.writeUInt32LE(run.context.length, 48);
      // The kernel has no context to give back where there is no packet.
      if (run.data !== undefined) {
        options.writeBigUInt64LE(addressOf(contextOut), 40);
        options.writeUInt32LE(contextOut.length, 52);
      }
    }
    options.writeInt32LE(run.repeat ?? 1, 60);
    const result = libbpf().testRun(this.fd, options);
    if (result < 0) throw new KernelError(`test ${this.name}`, -result);
    return {
      returned: options.readUInt32LE(56),
      data: dataOut.subarray(0, options.readUInt32LE(28)),
      context: contextOut,
      durationNs: options.readUInt32LE(64),
    };
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }
}

function programInfo(fd: number): ProgramInfo {
  const info = Buffer.alloc(INFO_BYTES);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(INFO_BYTES);
  checked('describe a program', libbpf().info(fd, info, bytes));
  return {
    type: info.readUInt32LE(0),
    id: info.readUInt32LE(4),
    tag: info.toString('hex', 8, 16),
    name: info.toString('latin1', 64, 80).replace(/\0.*$/s, ''),
  };
}
