import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { isKernelError } from '../../kernel/errors.ts';
import {
  attachClsact,
  type BpfProgram,
  clsactProgramId,
  createLink,
  detachClsact,
  type LinkTarget,
  openPinnedLink,
} from '../../kernel/libbpf.ts';
import type { Netns } from '../../kernel/netns.ts';

/** Heddle's filters among those of a device, on kernels without tcx: an upgrade finds its own by them. */
const CLSACT_HANDLE = 0x4ed1;
const CLSACT_PRIORITY = 1;

/** A direction of a device, and where its link is pinned. */
export interface DevicePlace {
  readonly pin: string;
  readonly netns: Netns;
  readonly ifindex: number;
  readonly direction: 'ingress' | 'egress';
}

/**
 * Puts a program in its place for as long as the pin stands: into the link that is there already, with no moment between
 * the old program and the new one, or by a new link where the old one's cgroup, namespace or device is gone.
 */
export function placeLink(program: BpfProgram, target: LinkTarget, pin: string): void {
  if (existsSync(pin)) {
    using link = openPinnedLink(pin);
    try {
      if (linkStands(link.info().detail, target)) {
        link.update(program);
        return;
      }
    } catch (thrown) {
      // Its place is gone: the kernel has taken the program out of it.
      if (!isKernelError(thrown, 'ENOLINK', 'EINVAL')) throw thrown;
    }
    rmSync(pin);
  }
  using made = createLink(program, target);
  mkdirSync(dirname(pin), { recursive: true, mode: 0o700 });
  made.pin(pin);
}

/** As `placeLink` for a device: by tcx, or by clsact on kernels before 6.6. */
export function placeOnDevice(program: BpfProgram, place: DevicePlace): void {
  if (!linkOnDevice(program, place)) attachClsact(program, clsactPlace(place));
}

/**
 * The same within half a millisecond: a new place is taken by clsact, since the kernel waits for 15 ms and for all devices where it
 * makes a link of tcx. `settleOnDevice` makes that one later.
 */
export function placeQuickly(program: BpfProgram, place: DevicePlace): void {
  if (existsSync(place.pin)) placeOnDevice(program, place);
  else attachClsact(program, clsactPlace(place));
}

/**
 * Puts a link in the place of what `placeQuickly` attached. Both stand for a moment, and the link alone is asked then. False where this
 * kernel has no such links, and where there is one already.
 */
export function settleOnDevice(program: BpfProgram, place: DevicePlace): boolean {
  if (existsSync(place.pin) || !linkOnDevice(program, place)) return false;
  detachClsact(clsactPlace(place));
  return true;
}

function linkOnDevice(program: BpfProgram, { pin, netns, ifindex, direction }: DevicePlace): boolean {
  const type = direction === 'ingress' ? 'tcx_ingress' : 'tcx_egress';
  try {
    placeLink(program, { target: ifindex, type, netns }, pin);
    return true;
  } catch (thrown) {
    if (!isKernelError(thrown, 'EINVAL')) throw thrown;
    return false;
  }
}

/** Whether the program of this place runs there. */
export function runsOnDevice(place: DevicePlace): boolean {
  if (!existsSync(place.pin)) return clsactProgramId(clsactPlace(place)) !== undefined;
  using link = openPinnedLink(place.pin);
  return link.info().detail[0] === place.ifindex;
}

/** Whether the link that is pinned there still has a cgroup, a namespace or a device. */
export function runsAt(pin: string): boolean {
  if (!existsSync(pin)) return false;
  using link = openPinnedLink(pin);
  const { detail } = link.info();
  return detail[0] !== 0 || detail[1] !== 0;
}

/** Takes the program away; also where nothing is there. */
export function leaveDevice(place: DevicePlace): void {
  removeLink(place.pin);
  detachClsact(clsactPlace(place));
}

/** Ends a link, whoever else holds it. */
export function removeLink(pin: string): void {
  if (!existsSync(pin)) return;
  using link = openPinnedLink(pin);
  try {
    link.detach();
  } catch (thrown) {
    if (!isKernelError(thrown, 'ENOLINK', 'EINVAL', 'EOPNOTSUPP')) throw thrown;
  }
  rmSync(pin);
}

/** tcx: its device (0 once that is gone); cgroup: its id, in two words; a network namespace: its inode. */
function linkStands(detail: readonly [number, number, number, number], target: LinkTarget): boolean {
  if (target.type.startsWith('tcx')) return detail[0] === target.target;
  return detail[0] !== 0 || detail[1] !== 0;
}

function clsactPlace({ netns, ifindex, direction }: DevicePlace) {
  return { netns, ifindex, direction, handle: CLSACT_HANDLE, priority: CLSACT_PRIORITY };
}
