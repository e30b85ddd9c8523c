import { fstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { PORTS, SIDECAR } from '../../common/contracts.ts';
import type { Fd } from '../kernel/fd.ts';
import { pidfdGetFd, pidfdOpen } from '../kernel/process-fd.ts';
import { type CgroupMount, cgroupFolderIn } from './cgroup-root.ts';

const SIDECAR_PORTS: readonly number[] = [PORTS.proxyOutbound, PORTS.proxyInbound];

const STATE_LISTEN = '0A';
/** As /proc/net/tcp and tcp6 write addresses: words of 32 bits as the machine holds them. */
const LISTENED: Readonly<Record<string, readonly (4 | 6)[]>> = {
  '0100007F': [4],
  '00000000': [4],
  '00000000000000000000000001000000': [6],
  // Where it is IPv6 only, the kernel refuses to give it an IPv4 connection.
  '00000000000000000000000000000000': [4, 6],
};

/** A listening socket of the sidecar's user on one of its ports. */
export interface OpenListener {
  readonly port: number;
  /** What it can serve; an IPv4 socket comes before one that serves both. */
  readonly families: readonly (4 | 6)[];
  readonly inode: number;
}

export interface ProcessCgroup {
  /** Where it is seen. */
  readonly folder: string;
  /** From the root of cgroup v2: `/kubepods.slice/…`. */
  readonly path: string;
  /** As bpf_get_current_cgroup_id gives it; never given twice. */
  readonly id: bigint;
}

/** The path in cgroup v2 from `/proc/PID/cgroup` (cgroups(7)); undefined in the root, which holds no container apart. */
export function cgroupV2Path(text: string): string | undefined {
  const line = text.split('\n').find((one) => one.startsWith('0::'));
  const path = line?.slice('0::'.length);
  // A process whose cgroup was removed keeps its name with this behind it.
  return path === undefined || path === '/' || path.endsWith(' (deleted)') ? undefined : path;
}

/** Reads `/proc/PID/net/tcp` or `tcp6` (proc_net_tcp of the kernel's documentation). */
export function listenersIn(table: string): OpenListener[] {
  const found: OpenListener[] = [];
  for (const line of table.split('\n').slice(1)) {
    const [, local = '', , state, , , , uid, , inode] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    const families = LISTENED[address];
    if (state !== STATE_LISTEN || families === undefined || Number(uid) !== SIDECAR.uid) continue;
    const listener = { port: Number.parseInt(port, 16), families, inode: Number(inode) };
    if (SIDECAR_PORTS.includes(listener.port)) found.push(listener);
  }
  return found;
}

/** Undefined where the process is gone, or stands in the root. */
export function cgroupOfProcess(pid: number, mount: CgroupMount): ProcessCgroup | undefined {
  return unlessGone(() => {
    const path = cgroupV2Path(readFileSync(`/proc/${pid}/cgroup`, 'utf8'));
    const folder = path === undefined ? undefined : cgroupFolderIn(mount, path);
    if (path === undefined || folder === undefined) return undefined;
    return { path, folder, id: statSync(folder, { bigint: true }).ino };
  });
}

/** The processes of a cgroup and of those under it. */
export function processesOf(cgroup: string): number[] {
  const own = unlessGone(() => readFileSync(join(cgroup, 'cgroup.procs'), 'utf8')) ?? '';
  const inner = unlessGone(() => readdirSync(cgroup, { withFileTypes: true })) ?? [];
  return [
    ...own.split('\n').filter(Boolean).map(Number),
    ...inner.filter((entry) => entry.isDirectory()).flatMap((entry) => processesOf(join(cgroup, entry.name))),
  ];
}

/** Every process of this machine that runs as the sidecar's user. */
export function sidecarUserProcesses(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && uidOf(name) === SIDECAR.uid)
    .map(Number);
}

/** The real uid; the owner of the folder is root's where a process isn't dumpable. */
function uidOf(pid: string): number | undefined {
  const status = unlessGone(() => readFileSync(`/proc/${pid}/status`, 'utf8'));
  const uid = /^Uid:\s+(\d+)/m.exec(status ?? '')?.[1];
  return uid === undefined ? undefined : Number(uid);
}

/** The sidecar's listeners that a process has open, each with a copy of its descriptor, which the caller closes. */
export function openListeners(pid: number): { readonly listener: OpenListener; readonly socket: Fd }[] {
  const wanted = new Map<string, OpenListener>();
  for (const table of ['tcp', 'tcp6']) {
    const text = unlessGone(() => readFileSync(`/proc/${pid}/net/${table}`, 'utf8')) ?? '';
    for (const listener of listenersIn(text)) wanted.set(`socket:[${listener.inode}]`, listener);
  }
  if (wanted.size === 0) return [];
  const handle = unlessGone(() => pidfdOpen(pid));
  if (handle === undefined) return [];
  using process = handle;
  const found: { listener: OpenListener; socket: Fd }[] = [];
  for (const name of unlessGone(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
    const target = unlessGone(() => readlinkSync(`/proc/${pid}/fd/${name}`)) ?? '';
    const listener = wanted.get(target);
    const socket = listener === undefined ? undefined : unlessGone(() => pidfdGetFd(process, Number(name)));
    if (listener === undefined || socket === undefined) continue;
    // The number may mean another file by now.
    if (fstatSync(socket.number).ino !== listener.inode) {
      socket[Symbol.dispose]();
      continue;
    }
    wanted.delete(target);
    found.push({ listener, socket });
  }
  return found;
}

/** Processes end, close and move while they are looked at; that is no error. */
export function unlessGone<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (thrown) {
    const code = (thrown as { readonly code?: unknown }).code;
    if (typeof code === 'string' && GONE.includes(code)) return undefined;
    throw thrown;
  }
}

const GONE = ['ENOENT', 'ESRCH', 'EBADF', 'ENODEV', 'ENOTDIR'];
