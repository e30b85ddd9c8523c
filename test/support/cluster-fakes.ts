import { PassThrough } from 'node:stream';
import type { Child, ChildSpec, ExitStatus } from '../../cli/local/children.ts';
import type { NetworkRequest, PodAddresses, PodNetwork } from '../../cli/network/pod-network.ts';
import { HeddleError } from '../../common/errors.ts';
import type { Dialer } from '../../common/net.ts';

/** A process that lives in the test: it ends when told, by the test or by a signal. */
export class FakeChild implements Child {
  readonly spec: ChildSpec;
  readonly pid: number;
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly exited: Promise<ExitStatus>;
  readonly signals: NodeJS.Signals[] = [];
  /** One that pays no heed to SIGTERM. */
  stubborn = false;
  #settle: (status: ExitStatus) => void = () => undefined;
  #ended = false;

  constructor(spec: ChildSpec, pid: number) {
    this.spec = spec;
    this.pid = pid;
    this.exited = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  running(): boolean {
    return !this.#ended;
  }

  exit(code: number | null, signal: NodeJS.Signals | null = null, error?: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#settle({ code, signal, error });
  }

  signal(signal: NodeJS.Signals): void {
    this.signals.push(signal);
    if (signal === 'SIGKILL' || (signal === 'SIGTERM' && !this.stubborn)) this.exit(null, signal);
  }

  /** As the real one, without its clock: a stubborn child is killed by the test that waits for it. */
  stop(_graceMs: number): Promise<ExitStatus> {
    this.signal('SIGTERM');
    return this.exited;
  }
}

export class FakeChildren {
  readonly started: FakeChild[] = [];

  start(spec: ChildSpec): FakeChild {
    const child = new FakeChild(spec, 1_000 + this.started.length);
    this.started.push(child);
    return child;
  }

  /** The latest process of that name, which must have been started. */
  latest(name: string): FakeChild {
    const child = this.started.findLast((one) => one.spec.name === name);
    if (child === undefined)
      throw new Error(`nothing named ${name} was started, but ${this.started.map((one) => one.spec.name)}`);
    return child;
  }

  /** Names of what runs now. */
  running(): readonly string[] {
    return this.started.filter((one) => one.running()).map((one) => one.spec.name);
  }
}

/** Gives pods addresses in order; a name in `refused` is refused with its reason. */
export class FakeNetwork implements PodNetwork {
  readonly name = 'loopback';
  readonly refused = new Map<string, string>();
  readonly held = new Set<string>();
  readonly #dialer: Dialer;
  #next = 1;

  constructor(dialer: Dialer) {
    this.#dialer = dialer;
  }

  async add({ pod }: NetworkRequest): Promise<PodAddresses> {
    const reason = this.refused.get(pod.metadata.name.split('-')[0] ?? '');
    if (reason !== undefined) throw new HeddleError('port-conflict', reason);
    this.held.add(pod.metadata.uid ?? '');
    return { ips: [`127.244.0.${this.#next++}`], env: new Map() };
  }

  async remove(podUid: string): Promise<void> {
    this.held.delete(podUid);
  }

  async check(podUid: string): Promise<string | undefined> {
    return this.held.has(podUid) ? undefined : 'the pod has no address';
  }

  hostIps(): readonly string[] {
    return ['127.0.0.1'];
  }

  dialer(): Dialer {
    return this.#dialer;
  }
}
