import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Place, spawnIn } from '../sockets/program.ts';
import type { SocketWorld, TestPod } from '../sockets/world.ts';

const SCRIPT = fileURLToPath(new URL('fixtures/sidecar.ts', import.meta.url));
export const SIDECAR_UID = 1337;
const START_DEADLINE_MS = 15_000;

export interface Told {
  readonly way?: 'outbound' | 'inbound';
  readonly from?: string;
  readonly to?: string;
  readonly port?: number;
  readonly problem?: string;
  readonly ready?: boolean;
}

export interface SidecarOptions {
  readonly container?: string;
  readonly uid?: number;
  readonly hosts?: string;
  readonly quiet?: boolean;
  /** Whether the maps know its cgroup before it starts; what the agent does otherwise. */
  readonly confirmed?: boolean;
}

/** A sidecar in a pod, without any capability. */
export class SidecarProcess {
  readonly told: Told[] = [];
  readonly cgroup: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, cgroup: string) {
    this.#child = child;
    this.cgroup = cgroup;
  }

  /** Resolves once it listens. */
  static async start(
    world: SocketWorld,
    pod: TestPod,
    options: SidecarOptions = {},
  ): Promise<SidecarProcess> {
    const cgroup = world.cgroup(pod, options.container ?? 'heddle-proxy');
    if (options.confirmed !== false) world.know(pod, true, cgroupId(cgroup));
    return await SidecarProcess.in({ netns: pod.netns, cgroup }, options);
  }

  /** In a container of somebody else's making. */
  static async in(
    { netns, cgroup }: Place,
    options: Pick<SidecarOptions, 'uid' | 'hosts' | 'quiet'> = {},
  ): Promise<SidecarProcess> {
    const variables = [
      `SIDECAR_HOSTS=${options.hosts ?? '127.0.0.1 ::1'}`,
      `SIDECAR_QUIET=${options.quiet === true ? 1 : 0}`,
    ];
    const place = { netns, cgroup, uid: options.uid ?? SIDECAR_UID };
    const child = spawnIn(place, ['env', ...variables, process.execPath, SCRIPT]);
    const sidecar = new SidecarProcess(child, cgroup);
    await sidecar.#ready();
    return sidecar;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await ended;
  }

  #ready(): Promise<void> {
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('a sidecar without output');
    return new Promise((resolve, reject) => {
      const late = AbortSignal.timeout(START_DEADLINE_MS);
      late.onabort = () => reject(new Error(`the sidecar did not listen within ${START_DEADLINE_MS} ms`));
      this.#child.once('exit', (code) => reject(new Error(`the sidecar ended with ${code}`)));
      createInterface({ input: stdout }).on('line', (line) => {
        const told = JSON.parse(line) as Told;
        if (told.ready === true) {
          late.onabort = null;
          resolve();
        } else this.told.push(told);
      });
    });
  }
}

/** The number that the kernel gives a cgroup: its folder's inode. */
export function cgroupId(path: string): bigint {
  return statSync(path, { bigint: true }).ino;
}
