import { rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeAtomically } from '../../common/atomic-file.ts';
import type { Clock, Timer } from '../../common/clock.ts';
import { ANNOTATIONS, SIDECAR } from '../../common/contracts.ts';
import { messageOf } from '../../common/errors.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import type { Launch, PodAddresses, PodNetwork } from '../network/pod-network.ts';
import type { Children } from './children.ts';
import { Container } from './container.ts';
import { type CommandLine, commandLineOf, environmentOf } from './environment.ts';
import { type ContainerSpec, type PodSpec, podSpecOf, type RestartPolicy } from './pod-spec.ts';
import { tokenRenewMs } from './token-issuer.ts';
import {
  type MaterialisedVolumes,
  materialiseVolumes,
  mountsOf,
  podField,
  type VolumeSources,
} from './volumes.ts';

/** What a pod needs of the mesh it runs in. */
export interface PodHost {
  readonly clock: Clock;
  readonly children: Pick<Children, 'start'>;
  readonly network: PodNetwork;
  readonly podsDirectory: string;
  readonly logsDirectory: string;
  /** Where containers without `workingDir` start. */
  readonly workingDirectory: string;
  readonly machineEnvironment: Readonly<Record<string, string>>;
  readonly rootFile: string;
  configMap(namespace: string, name: string): Readonly<Record<string, string>> | undefined;
  token(pod: KubeObject, audience: string): string;
  /** The program that stands for the container `heddle-proxy`, and what the runner tells it. */
  sidecar(): {
    readonly command: string;
    readonly args: readonly string[];
    readonly env: Readonly<Record<string, string>>;
  };
  onChange(): void;
}

/** Between the news that a pod goes and the end of its app: its callers hear of it first. */
const announceMs = 300;
const sidecarGraceMs = 5_000;

/** One pod after admission: addresses, volumes, containers in order, status, end. */
export class Pod {
  readonly object: KubeObject;
  readonly node: number;
  readonly createdAtMs: number;
  readonly injected: boolean;
  readonly #host: PodHost;
  readonly #spec: PodSpec;
  readonly #directory: string;
  /** As kubelet does, a deleted pod's logs go with it. */
  readonly #logDirectory: string;
  readonly #containers = new Map<string, Container>();
  #addresses: PodAddresses | undefined;
  #tokenTimer: Timer | undefined;
  #failure: { reason: string; message: string } | undefined;
  #nextInit = 0;
  #deletedAtMs: number | undefined;
  #gone: Promise<void> | undefined;
  #finished: Promise<void> | undefined;
  #prepared = false;
  #prepare: ((container: ContainerSpec) => Container) | undefined;

  constructor(host: PodHost, object: KubeObject, node: number) {
    this.#host = host;
    this.object = object;
    this.node = node;
    this.createdAtMs = host.clock.wallMs();
    this.#spec = podSpecOf(object);
    this.injected = object.metadata.annotations?.[ANNOTATIONS.injected] !== undefined;
    const { namespace = 'default', name } = object.metadata;
    this.#logDirectory = join(host.logsDirectory, `${namespace}_${name}`);
    this.#directory = join(host.podsDirectory, object.metadata.uid ?? object.metadata.name);
  }

  get ips(): readonly string[] {
    return this.#addresses?.ips ?? [];
  }
  get terminating(): boolean {
    return this.#deletedAtMs !== undefined;
  }
  get spec(): PodSpec {
    return this.#spec;
  }
  get containers(): readonly Container[] {
    return [...this.#containers.values()];
  }

  /** All containers that stay are ready, and the pod isn't only on its way. */
  get ready(): boolean {
    if (!this.#initialised()) return false;
    return this.#staying().every((spec) => this.#containers.get(spec.name)?.ready === true);
  }

  get phase(): 'Pending' | 'Running' | 'Succeeded' | 'Failed' {
    const apps = this.#spec.containers.map((spec) => this.#containers.get(spec.name));
    if (this.#initFailed()) return 'Failed';
    if (apps.some((container) => container === undefined)) return 'Pending';
    const ended = apps.every((container) => container?.state.kind === 'ended');
    if (!ended) return 'Running';
    return apps.every((container) => container?.succeeded === true) ? 'Succeeded' : 'Failed';
  }

  /** Why the pod isn't ready, in words; empty where it is or only needs time. */
  get trouble(): { readonly reason: string; readonly message: string } | undefined {
    if (this.#failure !== undefined) return this.#failure;
    for (const container of this.#containers.values()) {
      if (container.state.kind === 'waiting' && container.state.reason !== 'ContainerCreating')
        return { reason: container.state.reason, message: container.trouble };
      if (container.failed)
        return { reason: 'Error', message: `container ${container.setup.spec.name} failed` };
      if (!container.ready && container.trouble !== '')
        return { reason: 'NotReady', message: `${container.setup.spec.name}: ${container.trouble}` };
    }
    return undefined;
  }

  async start(): Promise<void> {
    if (this.terminating) return;
    try {
      const addresses = await this.#host.network.add({
        ...{ pod: this.object, node: this.node, injected: this.injected },
      });
      if (this.terminating) {
        await this.#host.network.remove(this.object.metadata.uid ?? '');
        return;
      }
      this.#addresses = addresses;
      const sources = this.#sources(addresses);
      const volumes = materialiseVolumes(this.#directory, this.#spec.volumes, sources);
      addresses.sandbox?.open(volumes.directories);
      this.#renewTokens(volumes);
      this.#prepare = (spec) => this.#container(spec, volumes, sources, addresses);
      this.#prepared = true;
      this.#advance();
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'PodError';
      this.#failure = { reason: reasonOf(code), message: messageOf(thrown) };
    }
    this.#host.onChange();
  }

  /** Deletes the pod: told to everybody first, then app, then sidecar. The same promise for every call. */
  delete(): Promise<void> {
    if (this.#gone === undefined) {
      this.#deletedAtMs = this.#host.clock.wallMs();
      this.#host.onChange();
      this.#gone = this.#end();
    }
    return this.#gone;
  }

  #sources(addresses: PodAddresses): VolumeSources {
    const { namespace = 'default' } = this.object.metadata;
    const hostIp = this.#host.network.hostIps(this.node)[0] ?? '';
    return {
      configMap: (map) => this.#host.configMap(namespace, map),
      token: (audience) => this.#host.token(this.object, audience),
      field: (path) => podField(this.object, path, { ips: addresses.ips, hostIp }),
      rootFile: addresses.sandbox?.rootFile ?? this.#host.rootFile,
    };
  }

  status(): JsonObject {
    const ready = this.ready && !this.terminating;
    const statuses = (specs: readonly ContainerSpec[]): JsonValue[] =>
      specs.map((spec) => this.#containers.get(spec.name)?.status() ?? this.#notStarted(spec));
    const condition = (type: string, holds: boolean): JsonObject => ({
      type,
      status: holds ? 'True' : 'False',
    });
    const trouble = this.trouble;
    const hostIps = this.#host.network.hostIps(this.node);
    const { ips } = this;
    return {
      phase: this.phase,
      ...(hostIps[0] === undefined ? {} : { hostIP: hostIps[0], hostIPs: hostIps.map((ip) => ({ ip })) }),
      ...(ips[0] === undefined ? {} : { podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) }),
      ...(trouble === undefined ? {} : { reason: trouble.reason, message: trouble.message }),
      startTime: new Date(this.createdAtMs).toISOString(),
      conditions: [
        condition('PodScheduled', true),
        condition('Initialized', this.#initialised()),
        condition('ContainersReady', ready),
        condition('Ready', ready),
      ],
      initContainerStatuses: statuses(this.#spec.init),
      containerStatuses: statuses(this.#spec.containers),
    };
  }

  /** The Pod object as the API server would show it. */
  toObject(): KubeObject {
    return {
      ...this.object,
      metadata: {
        ...this.object.metadata,
        ...(this.#deletedAtMs === undefined
          ? {}
          : { deletionTimestamp: new Date(this.#deletedAtMs).toISOString() }),
      },
      status: this.status(),
    };
  }

  #notStarted(spec: ContainerSpec): JsonObject {
    const reason = this.#failure?.reason ?? (this.#initialised() ? 'ContainerCreating' : 'PodInitializing');
    return {
      ...{ name: spec.name, ready: false, started: false, restartCount: 0 },
      state: { waiting: { reason, message: this.#failure?.message ?? '' } },
    };
  }

  #staying(): readonly ContainerSpec[] {
    return [...this.#spec.init.filter((spec) => spec.sidecar), ...this.#spec.containers];
  }

  #initialised(): boolean {
    return this.#nextInit >= this.#spec.init.length && this.#prepared;
  }

  #initFailed(): boolean {
    return this.#spec.init.some((spec) => !spec.sidecar && this.#containers.get(spec.name)?.failed === true);
  }

  /** Starts what may start now: init containers one after the other, then all others together. */
  #advance(): void {
    if (this.#prepare === undefined || this.terminating) return;
    while (this.#nextInit < this.#spec.init.length) {
      const spec = this.#spec.init[this.#nextInit];
      if (spec === undefined) return;
      const running = this.#containers.get(spec.name);
      if (running === undefined) {
        if (!this.#startContainer(spec)) return;
        continue;
      }
      if (!(spec.sidecar ? running.started : running.succeeded)) return;
      this.#nextInit++;
    }
    for (const spec of this.#spec.containers)
      if (!this.#containers.has(spec.name) && !this.#startContainer(spec)) return;
    this.#finishOnce();
  }

  #startContainer(spec: ContainerSpec): boolean {
    try {
      const container = this.#prepare?.(spec);
      if (container === undefined) return false;
      this.#containers.set(spec.name, container);
      container.start();
      return true;
    } catch (thrown) {
      this.#failure = { reason: 'CreateContainerConfigError', message: messageOf(thrown) };
      return false;
    }
  }

  /**
   * Once all containers of a pod have ended for good, its native sidecars are stopped (Kubernetes, "Sidecar containers"), and its
   * network is given back: a finished Job keeps no address.
   */
  #finishOnce(): void {
    if (this.phase !== 'Succeeded' && this.phase !== 'Failed') return;
    this.#finished ??= this.#finish();
  }

  async #finish(): Promise<void> {
    const sidecars = this.#spec.init.filter((spec) => spec.sidecar);
    await Promise.all(sidecars.map((spec) => this.#containers.get(spec.name)?.stop(sidecarGraceMs)));
    this.#tokenTimer?.cancel();
    await this.#host.network.remove(this.object.metadata.uid ?? '');
  }

  #container(
    spec: ContainerSpec,
    volumes: MaterialisedVolumes,
    sources: VolumeSources,
    { env, sandbox }: PodAddresses,
  ): Container {
    const host = this.#host;
    const { namespace = 'default', name } = this.object.metadata;
    const network = env.get(spec.name) ?? {};
    const seen = [...volumes.directories].map(
      ([volume, directory]) => [volume, sandbox?.volumePath(volume) ?? directory] as const,
    );
    const mounts = mountsOf(spec, new Map(seen));
    const isProxy = spec.name === SIDECAR.container;
    const sidecar = isProxy ? host.sidecar() : undefined;
    const input = {
      ...{ container: spec, machine: host.machineEnvironment, network, sources, mounts },
      forced: sidecar === undefined ? {} : { ...network, ...sidecar.env, HEDDLE_ROOT_FILE: sources.rootFile },
    };
    const commandLine: CommandLine =
      sidecar === undefined
        ? commandLineOf(input)
        : { command: sidecar.command, args: sidecar.args, env: environmentOf(input) };
    return new Container({
      ...{ clock: host.clock, dialer: host.network.dialer(this.node), children: host.children, spec },
      ...{ commandLine, mounts, cwd: resolve(host.workingDirectory, spec.workingDir ?? '.') },
      ...(sandbox === undefined ? {} : { enter: (launch: Launch) => sandbox.enter(spec, launch) }),
      podName: `${namespace}/${name}`,
      podUid: this.object.metadata.uid ?? '',
      podIp: this.ips[0] ?? '127.0.0.1',
      logDirectory: this.#logDirectory,
      restartPolicy: this.#restartPolicyOf(spec),
      onChange: () => {
        this.#advance();
        host.onChange();
      },
    });
  }

  /** An init container that has succeeded is done, also in a pod whose containers are started again whatever they end with. */
  #restartPolicyOf(spec: ContainerSpec): RestartPolicy {
    const { init, restartPolicy } = this.#spec;
    return restartPolicy === 'Always' && init.includes(spec) ? 'OnFailure' : restartPolicy;
  }

  #renewTokens(volumes: MaterialisedVolumes): void {
    if (volumes.tokens.length === 0) return;
    this.#tokenTimer = this.#host.clock.every(tokenRenewMs, () => {
      for (const token of volumes.tokens)
        writeAtomically(token.path, this.#host.token(this.object, token.audience), modeOf(token.path));
    });
  }

  async #end(): Promise<void> {
    const { clock } = this.#host;
    const startedAtMs = clock.now();
    if (this.ready && this.injected)
      await new Promise<void>((done) => {
        clock.after(announceMs, done);
      });
    const leftMs = () => Math.max(0, this.#spec.graceMs - (clock.now() - startedAtMs));
    const sidecars = this.#spec.init.filter((spec) => spec.sidecar).map((spec) => spec.name);
    const apps = this.containers.filter((container) => !sidecars.includes(container.setup.spec.name));
    await Promise.all(apps.map((container) => container.stop(leftMs())));
    for (const name of sidecars.toReversed())
      await this.#containers.get(name)?.stop(Math.max(sidecarGraceMs, leftMs()));
    await this.#finished;
    this.#tokenTimer?.cancel();
    await this.#host.network.remove(this.object.metadata.uid ?? '');
    rmSync(this.#directory, { recursive: true, force: true });
    rmSync(this.#logDirectory, { recursive: true, force: true });
    this.#host.onChange();
  }
}

/** A renewed token keeps what the network made of its rights. */
function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

function reasonOf(code: string): string {
  switch (code) {
    case 'port-conflict':
      return 'PortConflict';
    case 'volume':
      return 'FailedMount';
    default:
      return 'FailedCreatePodSandBox';
  }
}
