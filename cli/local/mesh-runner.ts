import { mkdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { writeAtomically } from '../../common/atomic-file.ts';
import { HeddleError } from '../../common/errors.ts';
import { silentLogger } from '../../common/log.ts';
import { buildMesh } from '../../model/build.ts';
import type { KubeObject, Problem } from '../../model/objects.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { SETTINGS_FILE } from '../../sources/files/scan.ts';
import { loadSettings, watchSettings } from '../../sources/files/settings.ts';
import { watchFiles } from '../../sources/files/watch.ts';
import type { ObjectSource, ObjectsState, SettingsSource } from '../../sources/source.ts';
import { askStates } from '../client/agents.ts';
import type { CliContext } from '../context.ts';
import { makeNetwork } from '../network/make.ts';
import type { MeshNetwork } from '../network/pod-network.ts';
import type { MachineFacts } from '../network/preflight.ts';
import { problemLine } from '../output/problem.ts';
import { AgentProblems } from './agent-problems.ts';
import { carriedOver } from './applied.ts';
import { Children } from './children.ts';
import { Cluster } from './cluster.ts';
import { manifestProblems } from './manifest-problems.ts';
import { News } from './news.ts';
import { processStartTime } from './process-identity.ts';
import type { Progress } from './progress.ts';
import {
  appliedFolder,
  type MeshFile,
  makeStateDirectories,
  type StatePaths,
  writeMeshFile,
} from './state-dir.ts';
import { System } from './system.ts';

export interface RunnerSettings {
  readonly context: CliContext;
  readonly paths: StatePaths;
  readonly name: string;
  readonly manifests: string;
  readonly dashboardPort: number;
  readonly nodes: number;
  /** The machine that the eBPF pod network runs on; undefined: loopback mode. */
  readonly ebpf: MachineFacts | undefined;
  readonly progress: Progress;
}

/** The supervising process of one local mesh. */
export class MeshRunner {
  readonly #settings: RunnerSettings;
  readonly #children: Children;
  readonly #system: System;
  readonly #network: MeshNetwork;
  readonly #cluster: Cluster;
  readonly #startedAt: string;
  #files: ObjectSource | undefined;
  #agentProblems: AgentProblems | undefined;
  #settingsSource: SettingsSource | undefined;
  #meshFile: MeshFile | undefined;
  readonly #news: News;
  #starting: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(settings: RunnerSettings) {
    const { context, paths } = settings;
    this.#settings = settings;
    this.#news = new News(context.cwd);
    makeStateDirectories(paths);
    this.#startedAt = new Date(context.clock.wallMs()).toISOString();
    this.#children = new Children(context.clock, paths);
    const environment = machineEnvironment(context.env, context.node);
    const compileCache = context.env.NODE_COMPILE_CACHE;
    this.#system = new System({
      ...{ clock: context.clock, random: context.random, children: this.#children, paths },
      ...{
        manifests: settings.manifests,
        dashboardPort: settings.dashboardPort,
        node: context.node,
        environment: {
          ...environment,
          ...(compileCache === undefined ? {} : { NODE_COMPILE_CACHE: compileCache }),
        },
      },
      say: (line) => settings.progress.warn(line),
      network: () => this.#network,
    });
    this.#network = makeNetwork({
      ...{ context, paths, environment, children: this.#children, startedAt: this.#startedAt },
      ...{ mesh: settings.name, manifests: settings.manifests, nodes: settings.nodes, ebpf: settings.ebpf },
      rootFile: this.#system.rootFile,
      say: (line) => settings.progress.warn(line),
    });
    this.#cluster = new Cluster({
      ...{ clock: context.clock, dialer: context.dialer, nodes: settings.nodes },
      runtimeDirectory: paths.runtime,
      host: {
        ...{ clock: context.clock, children: this.#children, network: this.#network },
        ...{ podsDirectory: paths.pods, logsDirectory: `${paths.logs}/pods` },
        ...{ workingDirectory: settings.manifests, machineEnvironment: environment },
        rootFile: this.#system.rootFile,
        token: (pod, audience) =>
          this.#system.issuer.issue(
            {
              namespace: pod.metadata.namespace ?? 'default',
              serviceAccount: serviceAccountOf(pod),
              podName: pod.metadata.name,
              podUid: pod.metadata.uid ?? '',
            },
            audience,
          ),
        sidecar: () => this.#system.sidecar(),
      },
      webhook: () => this.#system.webhook(),
      onChange: () => this.#onClusterChange(),
    });
  }

  /** Starts everything; returns once the mesh's own processes stand and the objects are being made to run. */
  start(): Promise<void> {
    this.#starting = this.#start();
    return this.#starting;
  }

  async #start(): Promise<void> {
    const { context, paths, manifests, progress, dashboardPort } = this.#settings;
    this.#goOn();
    makeStateDirectories(paths);
    const applied = appliedFolder(paths, manifests);
    mkdirSync(applied, { recursive: true, mode: 0o700 });
    this.#save({ dashboard: '', controlPlane: '', phase: 'starting' });
    this.#children.startWatchdog();
    const settings = this.#watchSettings();
    await this.#startNetwork();
    progress.begin('control plane');
    const ports = await this.#system.startControlPlane();
    const controlPlane = `${this.#network.controlPlaneAddress()}:${ports.xds}`;
    this.#save({ dashboard: `http://127.0.0.1:${ports.dashboard}`, controlPlane, phase: 'starting' });
    progress.done(`control plane on ${controlPlane}`);
    if (dashboardPort !== 0 && ports.dashboard !== dashboardPort)
      progress.warn(`port ${dashboardPort} is taken: the dashboard is on ${ports.dashboard}`);
    this.#goOn();
    progress.begin('injector');
    await this.#system.startInjector();
    progress.done('injector');
    this.#goOn();
    await this.#network.ready();
    this.#goOn();
    this.#files = await watchFiles({
      directories: [manifests, applied],
      clock: context.clock,
      log: silentLogger,
      onChange: (state) => this.#take(state),
    });
    this.#goOn();
    this.#take(this.#files.current());
    this.#followAgents();
    for (const problem of settings) progress.warn(problem);
    for (const line of carriedOver(applied)) progress.warn(line);
    if (this.#files.current().objects.length === 0)
      progress.warn(`${manifests} holds no manifests yet: they are taken as they appear`);
  }

  #followAgents(): void {
    const { context, progress } = this.#settings;
    const agents = this.#network.agentSockets().map((socket) => ({ node: undefined, socket }));
    if (agents.length === 0) return;
    this.#agentProblems = new AgentProblems({
      ...{ clock: context.clock, cwd: context.cwd, ask: () => askStates(agents) },
      warn: (line) => progress.warn(line),
    });
  }

  /** The network comes first: control plane and sidecars meet at its addresses. */
  async #startNetwork(): Promise<void> {
    const { paths, progress } = this.#settings;
    if (this.#network.name === 'loopback') return;
    progress.begin('pod network');
    await this.#network.start();
    const nodes = this.#network.nodes();
    const text = nodes.map((node) => `---\n${JSON.stringify(node)}\n`).join('');
    writeAtomically(join(paths.runtime, 'nodes.yaml'), text);
    progress.done(`pod network: ${nodes.length} node${nodes.length === 1 ? '' : 's'}`);
    this.#goOn();
  }

  /**
   * Follows `mesh.yaml` for the person at the terminal; the control plane follows it by itself. Throws where it can't be
   * used as it stands: a mesh must not start with looser rules than its settings ask for. Returns its warnings.
   */
  #watchSettings(): readonly string[] {
    const { context, manifests, progress } = this.#settings;
    const file = join(manifests, SETTINGS_FILE);
    const line = (problem: Problem) => problemLine(problem, context.cwd);
    const { problems } = loadSettings(file);
    const errors = problems.filter((problem) => problem.severity === 'error');
    if (errors.length > 0)
      throw new HeddleError(
        'settings',
        `the mesh's settings can't be used:\n  ${errors.map(line).join('\n  ')}`,
      );
    const told = new Set(problems.map(line));
    this.#settingsSource = watchSettings({
      ...{ file, clock: context.clock, log: silentLogger },
      onChange: (state) => {
        const lines = state.problems.map(line);
        for (const text of lines) if (!told.has(text)) progress.warn(text);
        if (lines.length === 0) progress.line(`~ changed ${SETTINGS_FILE}`);
        told.clear();
        for (const text of lines) told.add(text);
      },
    });
    return [...told];
  }

  /** A start that was overtaken by the end goes no further. */
  #goOn(): void {
    if (this.#stopped !== undefined)
      throw new HeddleError('stopped', 'the mesh was stopped while it started');
  }

  cluster(): Cluster {
    return this.#cluster;
  }

  settled(): boolean {
    return this.#files !== undefined && this.#cluster.settled();
  }

  dashboard(): string {
    return this.#meshFile?.dashboard ?? '';
  }

  markReady(): void {
    if (this.#meshFile !== undefined) this.#save({ ...this.#meshFile, phase: 'ready' });
  }

  /** Ends everything in order and leaves only what is meant to stay: applied objects, traces, keys and logs. */
  stop(): Promise<void> {
    this.#stopped ??= this.#end();
    return this.#stopped;
  }

  /** Ends everything at once. */
  killAll(): void {
    this.#children.killAll();
  }

  async #end(): Promise<void> {
    const { paths } = this.#settings;
    this.#settingsSource?.close();
    this.#agentProblems?.close();
    this.#files?.close();
    await this.#cluster.close();
    await this.#system.stop();
    await this.#starting?.catch(() => undefined);
    await this.#network.stop();
    this.#files?.close();
    await this.#children.stopWatchdog();
    for (const temporary of [paths.pods, paths.runtime, paths.childrenFile, paths.meshFile])
      rmSync(temporary, { recursive: true, force: true });
  }

  #take(state: ObjectsState): void {
    const { progress } = this.#settings;
    const objects = state.objects.map((sourced) => sourced.object);
    const change = this.#news.changes(objects);
    if (change !== undefined) progress.line(`~ ${change}`);
    // The control plane judges the same objects by the same function; here a person is told at once.
    const judged = buildMesh(state.objects, DEFAULT_MESH_SETTINGS).problems;
    const problems = [...state.problems, ...manifestProblems(state.objects, this.#network.name), ...judged];
    for (const line of this.#news.problems(problems)) progress.warn(line);
    const namespaces = new Set(objects.filter((o) => o.kind === 'Namespace').map((o) => o.metadata.name));
    this.#cluster.setObjects(withImpliedNamespaces(objects, namespaces));
  }

  #onClusterChange(): void {
    this.#settings.progress.update(this.#cluster.deployments());
  }

  #save(part: { dashboard: string; controlPlane: string; phase: string }): void {
    const { name, nodes, manifests, paths } = this.#settings;
    this.#meshFile = {
      ...{
        name,
        pid: process.pid,
        startTime: processStartTime(process.pid) ?? '',
        network: this.#network.name,
        nodes,
      },
      ...{ manifests: resolve(manifests), startedAt: this.#startedAt },
      ...{ dashboard: part.dashboard, controlPlane: part.controlPlane, phase: part.phase },
    };
    writeMeshFile(paths, this.#meshFile);
  }
}

/** A namespace that is only mentioned exists, as `default` does. */
function withImpliedNamespaces(
  objects: readonly KubeObject[],
  named: ReadonlySet<string>,
): readonly KubeObject[] {
  if (named.has('default')) return objects;
  return [...objects, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' } }];
}

function serviceAccountOf(pod: KubeObject): string {
  const spec = pod.spec;
  const name =
    typeof spec === 'object' && spec !== null && 'serviceAccountName' in spec
      ? spec.serviceAccountName
      : undefined;
  return typeof name === 'string' ? name : 'default';
}

/**
 * What programs need of the machine, and nothing that the mesh's user may hold as a secret in the environment. `node` is
 * the one that Heddle pins: an older one doesn't know NODE_USE_ENV_PROXY, and its calls would pass the mesh by.
 */
function machineEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  node: string,
): Readonly<Record<string, string>> {
  const kept = ['HOME', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];
  const machine: Record<string, string> = { PATH: [dirname(node), env.PATH ?? '/usr/bin:/bin'].join(':') };
  for (const name of kept) {
    const value = env[name];
    if (value !== undefined) machine[name] = value;
  }
  return machine;
}
