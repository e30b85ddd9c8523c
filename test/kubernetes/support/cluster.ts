import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'node:test';
import { HeddleError, messageOf } from '../../../common/errors.ts';
import type { JsonObject } from '../../../common/json.ts';
import { eventually } from '../../support/wait.ts';
import { locateParts, needParts } from '../cluster/build.ts';
import { down } from '../cluster/down.ts';
import {
  type ClusterLayout,
  cacheFolder,
  layoutOf,
  type NodeLayout,
  standingLayout,
} from '../cluster/layout.ts';
import { importImages, insideNode } from '../cluster/node.ts';
import { ownCasesImages } from '../cluster/own-cases-parts.ts';
import { up } from '../cluster/up.ts';

const COMMAND_TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export interface ClusterOptions {
  /** 0: an API server with its controllers, for admission, CRDs and sources. */
  readonly nodes: number;
  /** Archives of images that every node gets. */
  readonly images?: readonly string[];
}

export interface CommandOptions {
  /** For its standard input. */
  readonly input?: string;
  readonly timeoutMs?: number;
}

export interface PodPlace {
  readonly namespace: string;
  readonly name: string;
  readonly container?: string;
}

/** The programs of a node that can be ended and held. */
export type ProgramName =
  | 'etcd'
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'containerd'
  | 'kubelet';

/**
 * A real Kubernetes of this test's own, in namespaces of this machine. Where HEDDLE_KUBERNETES names a standing cluster, that one is
 * used and left standing: quick to iterate with, and only as clean as the tests before left it.
 */
export class KubernetesCluster {
  static #made = 0;
  readonly layout: ClusterLayout;
  readonly #parts = locateParts(cacheFolder(process.env));
  readonly #kubernetes = join(this.#parts.folders.kubernetes, 'kubernetes');
  readonly #standing: boolean;

  private constructor(layout: ClusterLayout, standing: boolean) {
    this.layout = layout;
    this.#standing = standing;
  }

  /** Stands as `up` says. What failed is removed, its logs are kept, and the error says where. */
  static async start({ nodes, images = [] }: ClusterOptions): Promise<KubernetesCluster> {
    const wanted = process.env.HEDDLE_KUBERNETES ?? '';
    if (wanted !== '') return KubernetesCluster.#join(wanted, nodes, images);
    const name = `t${process.pid}-${++KubernetesCluster.#made}`;
    const cluster = new KubernetesCluster(layoutOf(name, nodes), false);
    try {
      await up(cluster.layout, { built: cluster.#parts, images, owner: process.pid, report: () => {} });
      return cluster;
    } catch (thrown) {
      const logs = await cluster.collectLogs();
      await cluster.stop();
      throw new HeddleError('cluster', `${messageOf(thrown)}\nlogs: ${logs}`, { cause: thrown });
    }
  }

  static async #join(name: string, nodes: number, images: readonly string[]): Promise<KubernetesCluster> {
    const cluster = new KubernetesCluster(standingLayout(name), true);
    if (cluster.layout.nodes.length < nodes)
      throw new HeddleError(
        'usage',
        `${name} has ${cluster.layout.nodes.length} nodes, and ${nodes} are needed`,
      );
    await cluster.importImages(images);
    return cluster;
  }

  /** For clients in the machine's own network. */
  get kubeconfig(): string {
    return this.layout.kubeconfig;
  }

  /** From 1 on, as their names have it. */
  node(number: number): NodeLayout {
    const node = this.layout.nodes.find((one) => one.number === number);
    if (node === undefined) throw new HeddleError('usage', `the cluster has no node ${number}`);
    return node;
  }

  /** Its standard output. Throws HeddleError `command` with its words where it fails. */
  kubectl(args: readonly string[], options?: CommandOptions): Promise<string> {
    return run(this.#kubernetes, ['kubectl', '--kubeconfig', this.kubeconfig, ...args], options);
  }

  /** With this cluster's administrator as the user. */
  helm(args: readonly string[], options?: CommandOptions): Promise<string> {
    return run(join(this.#parts.folders.helm, 'helm'), ['--kubeconfig', this.kubeconfig, ...args], options);
  }

  /**
   * The Gateway API's conformance suite, as this cluster's administrator: everything that it prints, also where tests of it fail.
   * Throws HeddleError `command` where it was stopped.
   */
  runSuite(args: readonly string[], options?: CommandOptions): Promise<string> {
    const binary = join(this.#parts.folders.conformance, 'conformance.test');
    const failedTests = 1;
    return run('env', [`KUBECONFIG=${this.kubeconfig}`, binary, ...args], options, [0, failedTests]);
  }

  /**
   * Kubernetes' own cases by Ginkgo's command, as this cluster's administrator: everything that it prints, also where cases fail.
   * Throws HeddleError `not-built` without the part, `command` where it was stopped.
   */
  runOwnCases(args: readonly string[], options?: CommandOptions): Promise<string> {
    needParts(this.#parts, ['e2e']);
    const { e2e } = this.#parts.folders;
    const failedCases = 1;
    const flags = [
      ...[`--kubeconfig=${this.kubeconfig}`, `--kubectl-path=${join(this.#parts.cache, 'bin/kubectl')}`],
      ...['--provider=skeleton', '--dump-logs-on-failure=false'],
      // Only the first of Ginkgo's processes counts them itself; in the others, cases that need two would skip themselves.
      `--num-nodes=${this.layout.nodes.length}`,
    ];
    const command = [...args, join(e2e, 'e2e.test'), '--', ...flags];
    return run(join(e2e, 'ginkgo'), command, options, [0, failedCases]);
  }

  /** Archives of the images that the pods of Kubernetes' own cases have. Throws HeddleError `not-built` without the part. */
  static get ownCasesImages(): readonly string[] {
    const parts = locateParts(cacheFolder(process.env));
    needParts(parts, ['e2e-images']);
    return ownCasesImages(parts.folders['e2e-images']);
  }

  /** A folder with the Gateway API's experimental CustomResourceDefinitions, of the suite's version. */
  get gatewayApiCrds(): string {
    return join(this.#parts.folders.conformance, 'crds');
  }

  /** One object, or a list where no name is given. */
  async get(args: readonly string[]): Promise<JsonObject> {
    return JSON.parse(await this.kubectl(['get', ...args, '--output=json'])) as JsonObject;
  }

  /** Manifests as a user writes them, or objects. */
  async apply(manifests: string | readonly JsonObject[]): Promise<void> {
    const input =
      typeof manifests === 'string' ? manifests : manifests.map((one) => JSON.stringify(one)).join('\n---\n');
    await this.kubectl(['apply', '--filename=-'], { input });
  }

  /** Until the object has the condition: `waitFor('pod/a', 'condition=Ready', { namespace: 'shop' })`. */
  async waitFor(
    what: string,
    condition: string,
    {
      namespace = 'default',
      timeoutMs = COMMAND_TIMEOUT_MS,
    }: { readonly namespace?: string; readonly timeoutMs?: number } = {},
  ): Promise<void> {
    const flags = [`--namespace=${namespace}`, `--for=${condition}`, `--timeout=${timeoutMs}ms`];
    await this.kubectl(['wait', what, ...flags], { timeoutMs: timeoutMs + COMMAND_TIMEOUT_MS });
  }

  exec(
    { namespace, name, container }: PodPlace,
    command: readonly string[],
    options?: CommandOptions,
  ): Promise<string> {
    const where = [
      `--namespace=${namespace}`,
      name,
      ...(container === undefined ? [] : [`--container=${container}`]),
    ];
    const stdin = options?.input === undefined ? [] : ['--stdin'];
    return this.kubectl(['exec', ...stdin, ...where, '--', ...command], options);
  }

  /** `kubectl port-forward` to a port of a pod, from a free port of the machine's loopback. */
  async forward(
    { namespace, name }: PodPlace,
    port: number,
  ): Promise<{ readonly port: number; close(): Promise<void> }> {
    const args = ['kubectl', '--kubeconfig', this.kubeconfig, 'port-forward', `--namespace=${namespace}`];
    const child = spawn(this.#kubernetes, [...args, '--address=127.0.0.1', `pod/${name}`, `:${port}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const closed = once(child, 'close');
    let printed = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
      });
    const local = () => /Forwarding from 127\.0\.0\.1:(\d+)/.exec(printed)?.[1];
    await eventually(
      () => {
        if (child.exitCode !== null) throw new HeddleError('command', `kubectl port-forward: ${printed}`);
        return local() !== undefined;
      },
      { deadlineMs: COMMAND_TIMEOUT_MS, what: `kubectl forwards a port to ${namespace}/${name}` },
    );
    return {
      port: Number(local()),
      async close() {
        child.kill();
        await closed;
      },
    };
  }

  /** Into every node. Name images so that a Pod's imagePullPolicy IfNotPresent finds them. */
  async importImages(archives: readonly string[]): Promise<void> {
    await Promise.all(this.layout.nodes.map((node) => importImages(node, archives)));
  }

  /** In all of a node's namespaces, with its root file system. */
  onNode(number: number, command: readonly string[], options?: CommandOptions): Promise<string> {
    const [program, args] = insideNode(this.node(number), command);
    return run(program, args, options);
  }

  /** From outside of the cluster, with the machine's files: 10.200.0.1, whose routes lead to the nodes and no further. */
  inWorld(command: readonly string[], options?: CommandOptions): Promise<string> {
    return run('nsenter', [`--net=${this.layout.world}`, '--', ...command], options);
  }

  /** Ends a program of a node. It is started again at once, as on a real node, unless it is held. */
  async endProgram(node: NodeLayout, program: ProgramName, signal: 'TERM' | 'KILL' = 'KILL'): Promise<void> {
    const [command, args] = insideNode(node, [
      'sh',
      '-c',
      `kill -${signal} "$(cat /heddle-node/run/${program}.pid)"`,
    ]);
    await run(command, args);
  }

  /** Keeps a program from being started again, until it is let go. */
  async holdProgram(node: NodeLayout, program: ProgramName, signal: 'TERM' | 'KILL' = 'KILL'): Promise<void> {
    writeFileSync(join(node.home, 'held', program), '');
    await this.endProgram(node, program, signal);
  }

  letProgramGo(node: NodeLayout, program: ProgramName): void {
    rmSync(join(node.home, 'held', program), { force: true });
  }

  /** Everything that says why a test failed, in a folder outside of the cluster; its path. */
  async collectLogs(): Promise<string> {
    const folder = join(tmpdir(), 'heddle-kubernetes-logs', this.layout.name);
    mkdirSync(folder, { recursive: true });
    for (const { name, home, root } of this.layout.nodes.length === 0
      ? [this.layout.first]
      : this.layout.nodes)
      for (const [from, to] of [
        [join(home, 'log'), join(folder, name)],
        [join(root, 'var/log/pods'), join(folder, name, 'pods')],
      ] as const)
        if (existsSync(from)) cpSync(from, to, { recursive: true, dereference: false });
    for (const kind of ['events', 'pods', 'nodes', 'services', 'endpointslices']) {
      const text = await this.kubectl(['get', kind, '--all-namespaces', '--output=yaml']).catch(messageOf);
      writeFileSync(join(folder, `${kind}.yaml`), text);
    }
    return folder;
  }

  /** Registers that logs are collected after each test of the file that fails, and their folder is printed. */
  static logsAfterFailures(cluster: () => KubernetesCluster | undefined): void {
    afterEach(async (context) => {
      if (!('passed' in context) || context.passed !== false) return;
      const logs = await cluster()?.collectLogs();
      if (logs !== undefined) process.stderr.write(`logs of the cluster: ${logs}\n`);
    });
  }

  /** Nothing is left of it. */
  async stop(): Promise<void> {
    if (!this.#standing) await down(this.layout);
  }
}

async function run(
  command: string,
  args: readonly string[],
  { input, timeoutMs = COMMAND_TIMEOUT_MS }: CommandOptions = {},
  codes: readonly number[] = [0],
): Promise<string> {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      if (output[stream].length < OUTPUT_BYTES_MAX) output[stream] += text;
    });
  // It may end without having read all of it.
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code !== null && codes.includes(code)) return output.stdout;
  const why = signal === null ? `exit code ${code}` : `${signal}, after ${timeoutMs} ms at most`;
  throw new HeddleError('command', `${command} ${args.join(' ')}: ${why}\n${output.stderr}${output.stdout}`);
}
