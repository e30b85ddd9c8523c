import type { BpfProgram } from './bpf-program.ts';
import { KernelError } from './errors.ts';
import { checked, libbpf } from './native.ts';
import { inNetns, type Netns } from './netns.ts';

const HOOK_BYTES = 24;
const OPTIONS_BYTES = 32;
const REPLACE = 1;
const POINTS = { ingress: 1, egress: 2 } as const;

/** A filter's place: every one of Heddle's has the same handle and priority, so that an upgrade replaces its own. */
export interface ClsactPlace {
  readonly netns: Netns;
  readonly ifindex: number;
  readonly direction: keyof typeof POINTS;
  readonly handle: number;
  readonly priority: number;
}

/**
 * Attaches a program of kind tc by the clsact qdisc, for kernels below 6.6, or replaces the one that has the same
 * handle and priority. It stays until it is detached or the device goes; there is nothing to pin.
 */
export function attachClsact(program: BpfProgram, place: ClsactPlace): void {
  inNetns(place.netns, () => {
    const hook = hookOf(place);
    const made = libbpf().tcHookCreate(hook);
    if (made < 0 && made !== -17) throw new KernelError(`add clsact to device ${place.ifindex}`, -made);
    const options = optionsOf(place);
    options.writeInt32LE(program.fd, 8);
    options.writeUInt32LE(REPLACE, 12);
    checked(`attach ${program.name} (clsact ${place.direction})`, libbpf().tcAttach(hook, options));
  });
}

/** Whether there was one. The qdisc stays: others may use it. */
export function detachClsact(place: ClsactPlace): boolean {
  return inNetns(place.netns, () => {
    const result = libbpf().tcDetach(hookOf(place), optionsOf(place));
    if (result === -2 || result === -22 || result === -19) return false;
    checked(`detach a program (clsact ${place.direction})`, result);
    return true;
  });
}

/** Id of the program there. */
export function clsactProgramId(place: ClsactPlace): number | undefined {
  return inNetns(place.netns, () => {
    const options = optionsOf(place);
    const result = libbpf().tcQuery(hookOf(place), options);
    if (result === -2 || result === -22 || result === -19) return undefined;
    checked(`look for a program (clsact ${place.direction})`, result);
    return options.readUInt32LE(16);
  });
}

function hookOf(place: ClsactPlace): Buffer {
  const hook = Buffer.alloc(HOOK_BYTES);
  hook.writeBigUInt64LE(BigInt(HOOK_BYTES), 0);
  hook.writeInt32LE(place.ifindex, 8);
  hook.writeUInt32LE(POINTS[place.direction], 12);
  return hook;
}

function optionsOf(place: ClsactPlace): Buffer {
  const options = Buffer.alloc(OPTIONS_BYTES);
  options.writeBigUInt64LE(BigInt(OPTIONS_BYTES), 0);
  options.writeUInt32LE(place.handle, 20);
  options.writeUInt32LE(place.priority, 24);
  return options;
}
