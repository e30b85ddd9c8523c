import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { eventually } from '../wait.ts';
import { removeCgroup, rootOfCgroups } from './cgroups.ts';
import { nodeObject, podObject } from './cluster-objects.ts';
import { CniPlugin } from './cni-plugin.ts';
import { ip, removeNamespace, runIn } from './commands.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const AGENT = join(ROOT, 'cni/agent/main.ts');
const readyMs = 30_000;
const endMs = 10_000;

export interface ClusterOptions {
  readonly nodes?: number;
  readonly mode?: 'tunnel' | 'direct' | 'capture';
  /** False: none is started. */
  readonly agents?: boolean;
  /** Main module of the agents; the source's where it is undefined. */
  readonly agentMain?: string;
  /** More flags for every agent. */
  readonly flags?: readonly string[];
  /** Where agents leave off what they print; undefined: nowhere but `TestNode.output`. */
  readonly verbose?: boolean;
}

export interface PodOptions {
  readonly node?: number;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Has a container heddle-proxy, so that its TCP is captured. */
  readonly meshed?: boolean;
  readonly ports?: readonly JsonObject[];
}

export interface TestNode {
  readonly number: number;
  /** Of the Node object. */
  readonly name: string;
  readonly netns: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly socket: string;
  readonly adminSocket: string;
  readonly pins: string;
  readonly cgroup: string;
  readonly state: string;
  /** Everything that its agents printed. */
  output: string;
}

export interface ClusterPod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly node: TestNode;
  /** Path of the network namespace. */
  readonly netns: string;
  readonly cgroup: string;
  readonly ip4: string;
  readonly ip6: string;
}

/**
 * A cluster of network namespaces: nodes behind a bridge, a place that stands for the world, and on each node a real agent that
 * follows a folder of objects. Pods are attached by the real plugin. `close` removes all of it.
 */
export class TestCluster {
  static #made = 0;
  readonly #id = `hdlt-c${process.pid}n${++TestCluster.#made}`;
  readonly directory = mkdtempSync(join(tmpdir(), 'hdlt-c-'));
  readonly manifests = join(this.directory, 'manifests');
  readonly nodes: TestNode[] = [];
  readonly pods = new Map<string, ClusterPod>();
  /** Outside of the cluster, on the nodes' underlay: their default route. */
  readonly world = { netns: this.#netns('world'), ip4: '192.0.2.1', ip6: '2001:db8::1' };
  readonly #agents = new Map<string, ChildProcess>();
  readonly #plugin = new CniPlugin();
  readonly #options: ClusterOptions;
  #uids = 0;

  private constructor(options: ClusterOptions) {
    this.#options = options;
  }

  /** Stands when every node's agent is ready, if agents are wanted. */
  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    try {
      cluster.#makeUnderlay(options.nodes ?? 2);
      if (options.agents === false) return cluster;
      for (const node of cluster.nodes) cluster.startAgent(node);
      await Promise.all(cluster.nodes.map((node) => cluster.ready(node)));
      return cluster;
    } catch (thrown) {
      await cluster.close();
      throw thrown;
    }
  }

  node(number: number): TestNode {
    const node = this.nodes[number];
    if (node === undefined) throw new Error(`no node ${number}`);
    return node;
  }

  /** With more flags than all agents have. */
  startAgent(node: TestNode, more: readonly string[] = []): ChildProcess {
    rmSync(this.#readyFile(node), { force: true });
    const main = this.#options.agentMain ?? AGENT;
    const child = spawn(process.execPath, [main, ...this.agentFlags(node), ...more], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => {
        node.output += data;
        if (this.#options.verbose === true) process.stderr.write(data);
      });
    this.#agents.set(node.name, child);
    return child;
  }

  agentFlags(node: TestNode): readonly string[] {
    const { mode = 'tunnel', flags = [] } = this.#options;
    return [
      ...['--node', node.name, '--node-netns', node.netns, '--manifests', this.manifests, '--mode', mode],
      ...['--state-dir', node.state, '--socket', node.socket, '--admin-socket', node.adminSocket],
      ...['--cgroup', node.cgroup, '--pins', node.pins, '--ready-file', this.#readyFile(node)],
      ...flags,
    ];
  }

  async ready(node: TestNode): Promise<void> {
    const file = this.#readyFile(node);
    await eventually(
      () => {
        const agent = this.#agents.get(node.name);
        if (agent !== undefined && agent.exitCode !== null)
          throw new Error(`the agent of ${node.name} ended with ${agent.exitCode}:\n${node.output}`);
        return existsSync(file);
      },
      { deadlineMs: readyMs, what: `the agent of ${node.name} is ready\n${node.output}` },
    );
  }

  async stopAgent(node: TestNode, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const agent = this.#agents.get(node.name);
    this.#agents.delete(node.name);
    if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = once(agent, 'exit');
    agent.kill(signal);
    const timer = setTimeout(() => agent.kill('SIGKILL'), endMs);
    await ended;
    clearTimeout(timer);
  }

  /** Writes objects, each in a file of its own, as `kubectl apply` would. */
  apply(...objects: readonly KubeObject[]): void {
    for (const object of objects) {
      const path = this.#fileOf(object);
      writeFileSync(`${path}.tmp`, JSON.stringify(object));
      renameSync(`${path}.tmp`, path);
    }
  }

  delete(...objects: readonly Pick<KubeObject, 'kind' | 'metadata'>[]): void {
    for (const object of objects) rmSync(this.#fileOf(object), { force: true });
  }

  /** A pod that is attached and has its status. */
  async addPod(name: string, options: PodOptions = {}): Promise<ClusterPod> {
    const { namespace = 'default' } = options;
    const node = this.node(options.node ?? 0);
    const uid = `00000000-0000-4000-8000-${String(++this.#uids).padStart(12, '0')}`;
    const cgroup = join(node.cgroup, uid);
    mkdirSync(cgroup);
    const netns = this.#netns(`p${this.#uids}`);
    ip('netns', 'add', netns.slice('/run/netns/'.length));
    const object = podObject(name, namespace, uid, node.name, options);
    this.apply(object);
    const at = { containerId: uid, netns, socket: node.socket, namespace, name, uid };
    const added = await this.#plugin.add(at, options.ports ?? []);
    const address = (six: boolean) => added.find((one) => one.includes(':') === six) ?? '';
    const pod = { name, namespace, uid, node, netns, cgroup, ip4: address(false), ip6: address(true) };
    this.pods.set(`${namespace}/${name}`, pod);
    const podIPs = added.map((one) => ({ ip: one }));
    this.apply({ ...object, status: { phase: 'Running', podIP: added[0] ?? '', podIPs } });
    return pod;
  }

  async deletePod(pod: ClusterPod): Promise<void> {
    this.delete({ kind: 'Pod', metadata: { name: pod.name, namespace: pod.namespace } });
    this.pods.delete(`${pod.namespace}/${pod.name}`);
    await removeCgroup(pod.cgroup);
    await this.#plugin.delete({ ...pod, containerId: pod.uid, socket: pod.node.socket });
    removeNamespace(pod.netns.slice('/run/netns/'.length));
  }

  async checkPod(pod: ClusterPod): Promise<void> {
    await this.#plugin.check({ ...pod, containerId: pod.uid, socket: pod.node.socket });
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => this.stopAgent(node)));
    for (const line of ip('netns', 'list').split('\n')) {
      const name = line.split(' ')[0] ?? '';
      if (name.startsWith(`${this.#id}-`)) removeNamespace(name);
    }
    await removeCgroup(this.#cgroup());
    const bpf = join(this.directory, 'bpf');
    if (readFileSync('/proc/mounts', 'utf8').includes(` ${bpf} `)) runIn('/proc/self/ns/net', 'umount', bpf);
    rmSync(this.directory, { recursive: true, force: true });
  }

  #makeUnderlay(count: number): void {
    mkdirSync(this.manifests);
    const bpf = join(this.directory, 'bpf');
    mkdirSync(bpf);
    runIn('/proc/self/ns/net', 'mount', '-t', 'bpf', 'bpf', bpf);
    const world = this.world.netns;
    ip('netns', 'add', world.slice('/run/netns/'.length));
    for (const words of [
      'link set lo up',
      'link add br0 type bridge',
      `addr add ${this.world.ip4}/24 dev br0`,
      `addr add ${this.world.ip6}/64 dev br0 nodad`,
      'link set br0 up',
    ])
      runIn(world, 'ip', ...words.split(' '));
    for (let number = 0; number < count; number++) this.#makeNode(number);
  }

  #makeNode(number: number): void {
    const name = `node-${number + 1}`;
    const root = join(this.directory, name);
    const node: TestNode = {
      ...{ number, name, netns: this.#netns(`n${number + 1}`), output: '' },
      ...{ ip4: `192.0.2.${number + 11}`, ip6: `2001:db8::${number + 11}`, state: join(root, 'state') },
      ...{ socket: join(root, 'cni.sock'), adminSocket: join(root, 'admin.sock') },
      ...{ pins: join(this.directory, 'bpf', name), cgroup: join(this.#cgroup(), name) },
    };
    this.nodes.push(node);
    mkdirSync(node.cgroup, { recursive: true });
    mkdirSync(root);
    const short = node.netns.slice('/run/netns/'.length);
    ip('netns', 'add', short);
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', short];
    runIn(this.world.netns, 'ip', 'link', 'add', `u${number}`, ...peer);
    runIn(this.world.netns, 'ip', 'link', 'set', `u${number}`, 'master', 'br0', 'up');
    for (const words of [
      'link set lo up',
      `addr add ${node.ip4}/24 dev eth0`,
      `addr add ${node.ip6}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via ${this.world.ip4}`,
      `-6 route add default via ${this.world.ip6}`,
    ])
      runIn(node.netns, 'ip', ...words.split(' '));
    this.apply(nodeObject(node));
  }

  #netns(name: string): string {
    return `/run/netns/${this.#id}-${name}`;
  }

  #cgroup(): string {
    return join(rootOfCgroups(), this.#id);
  }

  #readyFile(node: TestNode): string {
    return join(this.directory, node.name, 'ready');
  }

  #fileOf({ kind, metadata }: Pick<KubeObject, 'kind' | 'metadata'>): string {
    return join(this.manifests, `${kind}.${metadata.namespace ?? ''}.${metadata.name}.json`);
  }
}
