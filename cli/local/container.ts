import { constants } from 'node:os';
import { join } from 'node:path';
import type { Clock, Timer } from '../../common/clock.ts';
import type { JsonObject } from '../../common/json.ts';
import type { Dialer } from '../../common/net.ts';
import type { Launch } from '../network/pod-network.ts';
import { Backoff, CONTAINER_BACKOFF } from './backoff.ts';
import type { Child, Children, ExitStatus } from './children.ts';
import type { CommandLine } from './environment.ts';
import { rewriteMountPath } from './expansion.ts';
import { LogFile } from './log-file.ts';
import type { ContainerSpec, ProbeKind, RestartPolicy } from './pod-spec.ts';
import { ProbeLoop, type ProbeTimings, probeTimings, runProbe } from './probes.ts';

export interface ContainerSetup {
  readonly clock: Clock;
  readonly dialer: Dialer;
  readonly children: Pick<Children, 'start'>;
  readonly spec: ContainerSpec;
  readonly commandLine: CommandLine;
  /** Folders that stand for mount paths, in the words of probes and hooks as in those of the command. */
  readonly mounts: ReadonlyMap<string, string>;
  readonly cwd: string;
  readonly podName: string;
  readonly podUid: string;
  readonly podIp: string;
  readonly logDirectory: string;
  readonly restartPolicy: RestartPolicy;
  /** How a process of this container is started; as it is unless given. */
  readonly enter?: (launch: Launch) => Launch;
  onChange(): void;
}

type State =
  | { readonly kind: 'waiting'; readonly reason: string; readonly message: string }
  | { readonly kind: 'running'; readonly startedAtMs: number }
  | { readonly kind: 'ended'; readonly code: number; readonly reason: string };

/** The end of a container's output, kept for messages. */
const tailBytesMax = 4_096;
const probeGraceMs = 1_000;

/** One container: its process, restarts with back-off, probes and log. */
export class Container {
  readonly setup: ContainerSetup;
  readonly #backoff = new Backoff(CONTAINER_BACKOFF);
  readonly #log: LogFile;
  #state: State = { kind: 'waiting', reason: 'ContainerCreating', message: '' };
  #child: Child | undefined;
  #probes: ProbeLoop[] = [];
  #restartTimer: Timer | undefined;
  #stopping = false;
  #restarts = 0;
  #started = false;
  #ready = false;
  #probeMessage = '';
  /** The probe that had the process ended, for the message about its end. */
  #endedBy = '';
  #tail = '';

  constructor(setup: ContainerSetup) {
    this.setup = setup;
    this.#log = new LogFile(join(setup.logDirectory, `${setup.spec.name}.log`));
  }

  get state(): State {
    return this.#state;
  }
  get ready(): boolean {
    return this.#ready;
  }
  /** Whether the startup probe, where there is one, has succeeded. */
  get started(): boolean {
    return this.#started;
  }
  /** Ended for good with success. */
  get succeeded(): boolean {
    return this.#state.kind === 'ended' && this.#state.code === 0;
  }
  get failed(): boolean {
    return this.#state.kind === 'ended' && this.#state.code !== 0;
  }
  /** What keeps the container from being ready, in words, or empty. */
  get trouble(): string {
    if (this.#state.kind === 'waiting' && this.#state.message !== '') return this.#state.message;
    return this.#ready ? '' : this.#probeMessage;
  }
  get lastOutput(): string {
    return this.#tail;
  }

  start(): void {
    if (this.#stopping) return;
    const { clock, commandLine, spec, podName, cwd } = this.setup;
    const startedAtMs = clock.now();
    this.#log.startRun();
    this.#tail = '';
    this.#probeMessage = '';
    this.#endedBy = '';
    const child = this.setup.children.start({
      name: `${podName}/${spec.name}`,
      ...this.#entered({ ...commandLine, cwd }),
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        this.#log.write(chunk);
        this.#tail = (this.#tail + chunk.toString()).slice(-tailBytesMax);
      });
    this.#state = { kind: 'running', startedAtMs: clock.wallMs() };
    this.#beginProbes();
    void child.exited.then((status) => this.#ended(status, clock.now() - startedAtMs));
    this.setup.onChange();
  }

  /** Ends the process: preStop, SIGTERM, and SIGKILL once `graceMs` have passed. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.#restartTimer?.cancel();
    this.#endProbes();
    this.#ready = false;
    const startedAtMs = this.setup.clock.now();
    if (this.#child?.running()) await this.#preStop(graceMs);
    const leftMs = Math.max(0, graceMs - (this.setup.clock.now() - startedAtMs));
    await this.#child?.stop(leftMs);
    this.#log.close();
  }

  /** The `containerStatuses` entry. */
  status(): JsonObject {
    const { spec } = this.setup;
    return {
      name: spec.name,
      ready: this.#ready || (!spec.sidecar && this.succeeded),
      started: this.#started,
      restartCount: this.#restarts,
      image: 'local',
      // The end of its cgroup's path, by which a node's agent knows the container.
      containerID: `heddle://${this.setup.podUid}/${spec.name}`,
      state: this.#stateStatus(),
    };
  }

  #stateStatus(): JsonObject {
    const state = this.#state;
    switch (state.kind) {
      case 'waiting':
        return { waiting: { reason: state.reason, message: state.message } };
      case 'running':
        return { running: { startedAt: new Date(state.startedAtMs).toISOString() } };
      case 'ended':
        return { terminated: { exitCode: state.code, reason: state.reason } };
      default:
        return state satisfies never;
    }
  }

  #ended(status: ExitStatus, ranMs: number): void {
    this.#endProbes();
    this.#ready = false;
    this.#started = false;
    const code = status.code ?? (status.signal === null ? 127 : 128 + constants.signals[status.signal]);
    const policy = this.setup.spec.sidecar ? 'Always' : this.setup.restartPolicy;
    const again = !this.#stopping && (policy === 'Always' || (policy === 'OnFailure' && code !== 0));
    if (!again) {
      this.#state = { kind: 'ended', code, reason: code === 0 ? 'Completed' : 'Error' };
      this.setup.onChange();
      return;
    }
    const delayMs = this.#backoff.next(ranMs);
    this.#state = {
      kind: 'waiting',
      reason: 'CrashLoopBackOff',
      message: `${this.#endedBy}${this.#exitText(status)}; started again in ${Math.round(delayMs / 1_000)} s`,
    };
    this.#restartTimer = this.setup.clock.after(delayMs, () => {
      this.#restarts++;
      this.start();
    });
    this.setup.onChange();
  }

  #exitText(status: ExitStatus): string {
    const { commandLine, spec } = this.setup;
    if (status.error !== undefined) return `"${commandLine.command}" could not be started: ${status.error}`;
    const how = status.signal === null ? `with exit code ${status.code}` : `by ${status.signal}`;
    const shared =
      "; its port is taken: in loopback mode the sidecar stands at the pod's port and every replica needs its own, so let the app listen on $HOST:$PORT";
    const alone = '; its port is taken by another process of its pod';
    const isTaken = /EADDRINUSE|address already in use/i.test(this.#tail);
    const taken = isTaken ? (this.setup.enter === undefined ? shared : alone) : '';
    return `container ${spec.name} ended ${how}${taken}`;
  }

  #beginProbes(): void {
    const { probes } = this.setup.spec;
    this.#endProbes();
    if (probes.startup === undefined) this.#afterStartup();
    else
      this.#probe('startup', (ok, message) => {
        if (ok) {
          this.#endProbes();
          this.#afterStartup();
        } else this.#restartFor('startup', message);
      });
  }

  #afterStartup(): void {
    this.#started = true;
    const { probes } = this.setup.spec;
    if (probes.readiness === undefined) this.#setReady(true, '');
    else this.#probe('readiness', (ok, message) => this.#setReady(ok, message));
    if (probes.liveness !== undefined)
      this.#probe('liveness', (ok, message) => {
        if (!ok) this.#restartFor('liveness', message);
      });
    this.setup.onChange();
  }

  #setReady(ready: boolean, message: string): void {
    const told = message === '' ? '' : `readiness probe: ${message}`;
    const changed = ready !== this.#ready || told !== this.#probeMessage;
    this.#probeMessage = told;
    this.#ready = ready;
    if (changed) this.setup.onChange();
  }

  #restartFor(kind: ProbeKind, message: string): void {
    this.#probeMessage = `${kind} probe: ${message}`;
    this.#endedBy = `${this.#probeMessage}; so `;
    this.#endProbes();
    this.#ready = false;
    this.setup.onChange();
    void this.#child?.stop(probeGraceMs);
  }

  #probe(kind: ProbeKind, onVerdict: (ok: boolean, message: string) => void): void {
    const probe = this.setup.spec.probes[kind];
    if (probe === undefined) return;
    const { clock, dialer, podIp, spec } = this.setup;
    const target = {
      podIp,
      ports: spec.ports,
      exec: (command: readonly string[], timeoutMs: number) => this.#exec(command, timeoutMs),
    };
    // A pod that starts is asked often, so that it serves as soon as it can; Kubernetes would wait for a whole period.
    const timings = probeTimings(probe);
    this.#probes.push(
      new ProbeLoop(
        clock,
        kind === 'liveness' ? timings : askedOften(timings),
        () => runProbe(clock, dialer, probe, target),
        onVerdict,
      ),
    );
  }

  async #exec(command: readonly string[], timeoutMs: number): Promise<number> {
    const { children, commandLine, cwd, mounts, podName, spec } = this.setup;
    const [program = '', ...args] = command.map((word) => rewriteMountPath(word, mounts));
    const child = children.start({
      name: `${podName}/${spec.name}/exec`,
      ...this.#entered({ command: program, args, cwd, env: commandLine.env }),
    });
    child.stdout.resume();
    child.stderr.resume();
    const timer = this.setup.clock.after(timeoutMs, () => child.signal('SIGKILL'));
    const status = await child.exited;
    timer.cancel();
    return status.code ?? 1;
  }

  #entered(launch: Launch): Launch {
    return this.setup.enter?.(launch) ?? launch;
  }

  async #preStop(graceMs: number): Promise<void> {
    const hook = this.setup.spec.preStop;
    if (typeof hook !== 'object' || hook === null) return;
    if ('sleep' in hook && typeof hook.sleep === 'object' && hook.sleep !== null && 'seconds' in hook.sleep) {
      const pauseMs = Math.min(graceMs, Number(hook.sleep.seconds) * 1_000);
      await new Promise<void>((resolve) => {
        this.setup.clock.after(pauseMs, resolve);
      });
    } else if (
      'exec' in hook &&
      typeof hook.exec === 'object' &&
      hook.exec !== null &&
      'command' in hook.exec
    ) {
      const command = hook.exec.command;
      if (Array.isArray(command)) await this.#exec(command.map(String), graceMs);
    } else {
      this.#log.write(Buffer.from('heddle: preStop takes exec and sleep here; this hook was not run\n'));
    }
  }

  #endProbes(): void {
    for (const probe of this.#probes) probe.stop();
    this.#probes = [];
  }
}

/** The same patience in time, with a question every second at least. */
function askedOften(timings: ProbeTimings): ProbeTimings {
  const periodMs = Math.min(timings.periodMs, 500);
  const factor = timings.periodMs / periodMs;
  return { ...timings, periodMs, failureThreshold: Math.ceil(timings.failureThreshold * factor) };
}
