import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AdminServer, startAdmin } from '../../../cni/agent/admin/server.ts';
import { systemClock } from '../../../common/clock.ts';
import { silentLogger } from '../../../common/log.ts';
import { KINDS } from '../../../sources/kubernetes/kinds.ts';
import { AgentWorld, dropBytes } from '../../support/agent-world.ts';
import { FakeApi } from '../../support/kubernetes/fake-api.ts';
import { type HttpApi, serveApi } from '../../support/kubernetes/http.ts';
import { agentPod, kubeconfig } from '../../support/kubernetes/installed.ts';
import { type Execution, PodCommands } from '../../support/kubernetes/pod-commands.ts';
import { networkPolicy } from '../../support/policy-objects.ts';
import { eventually } from '../../support/wait.ts';

const MAIN = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url));
const DIAL = fileURLToPath(new URL('../../../cni/dial/main.ts', import.meta.url));
const COMPILE_CACHE = fileURLToPath(new URL('../../../node_modules/.cache/heddle', import.meta.url));

export const NODES = ['worker-1', 'worker-2'] as const;
export type NodeName = (typeof NODES)[number];
export const deadlineMs = 20_000;

/** A line of `drops -o json`, as far as tests look. */
export interface ShownDrop {
  readonly node: string;
  readonly to: { readonly port: number };
}

export function recordsIn(out: string): readonly ShownDrop[] {
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ShownDrop);
}

/**
 * Two nodes of a cluster: an API server in memory, agents' admin sockets, and pods in which the real program leads to them. Worker-2
 * has a NetworkPolicy with a slip.
 */
export class AgentsCluster {
  readonly folder = mkdtempSync(join(tmpdir(), 'heddle-agents-'));
  readonly kubeconfig = join(this.folder, 'kubeconfig');
  readonly api = new FakeApi([
    ...[KINDS.service, KINDS.pod, KINDS.deployment, KINDS.daemonSet, KINDS.node, KINDS.namespace],
    ...[KINDS.configMap, KINDS.mutatingWebhook],
  ]);
  /** What becomes of a command, by pod; one that isn't named is gone. */
  readonly leads = new Map<string, Execution>();
  readonly commands = new PodCommands(({ pod }) => this.leads.get(pod) ?? { status: 404 });
  readonly #worlds = new Map<NodeName, AgentWorld>();
  readonly #admins: AdminServer[] = [];
  readonly #children = new Set<ChildProcess>();
  #served: HttpApi | undefined;

  static async start(): Promise<AgentsCluster> {
    const cluster = new AgentsCluster();
    const policy = { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }] };
    for (const node of NODES) {
      const policies = node === 'worker-2' ? [networkPolicy('broken', policy)] : [];
      const view = new AgentWorld(systemClock, policies, undefined, node);
      cluster.#worlds.set(node, view);
      const socket = cluster.socketOf(node);
      cluster.#admins.push(await startAdmin({ socket, view, clock: systemClock, log: silentLogger }));
      cluster.put(`agent-of-${node}`, node, cluster.dial(node));
    }
    cluster.#served = await serveApi(cluster.api, cluster.commands);
    writeFileSync(cluster.kubeconfig, kubeconfig(cluster.#served.server));
    return cluster;
  }

  worldOf(node: NodeName): AgentWorld {
    const world = this.#worlds.get(node);
    assert.ok(world !== undefined);
    return world;
  }

  socketOf(node: string): string {
    return join(this.folder, `${node}.sock`);
  }

  /** The program of the agent's image, at this test's socket. */
  dial(node: string): Execution {
    return { run: [process.execPath, DIAL, '--admin-socket', this.socketOf(node)] };
  }

  put(pod: string, node: string, lead: Execution, options: Parameters<typeof agentPod>[2] = {}): void {
    this.api.put(KINDS.pod, agentPod(pod, node, options));
    this.leads.set(pod, lead);
  }

  delete(pod: string): void {
    this.api.delete(KINDS.pod, { namespace: 'heddle-system', name: pod });
    this.leads.delete(pod);
  }

  /** Pods in which a command was asked for. */
  askedPods(): readonly string[] {
    return this.commands.asked.map(({ pod }) => pod);
  }

  drop(node: NodeName, part: Parameters<typeof dropBytes>[1]): void {
    this.worldOf(node).drops.take(dropBytes(systemClock, part));
  }

  /** The command, on a machine whose kubeconfig leads here. */
  run(...args: readonly string[]) {
    const child = spawn(process.execPath, [MAIN, ...args, '--kubeconfig', this.kubeconfig], {
      cwd: this.folder,
      env: { PATH: process.env.PATH, HOME: this.folder, NO_COLOR: '1', NODE_COMPILE_CACHE: COMPILE_CACHE },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    const ran = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => {
      ran.out += String(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      ran.err += String(chunk);
    });
    return { child, ran };
  }

  async heddle(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
    const { child, ran } = this.run(...args);
    const [code] = await once(child, 'close');
    return { code: Number(code), ...ran };
  }

  /** Fails where a command is left in a pod although nobody has its stream any more. */
  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await eventually(() => this.commands.running === 0, { deadlineMs, what: 'no command is left in a pod' });
    await this.#served?.close();
    for (const admin of this.#admins) await admin.close();
    for (const world of this.#worlds.values()) world.drops.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
