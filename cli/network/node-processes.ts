import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, sleep } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import type { Children } from '../local/children.ts';
import { Component } from '../local/component.ts';
import { type NodePlace, netnsPath, nodePaths } from './layout.ts';

/** From the start of the agents until pods can be added. */
const agentReadyMs = 60_000;
const pollMs = 20;
/** It hands bytes on and keeps nothing. */
const RELAY_NODE_FLAGS = ['--max-semi-space-size=1', '--max-old-space-size=32'];

export interface NodeProcessesSettings {
  readonly clock: Clock;
  readonly children: Pick<Children, 'start'>;
  /** Of the mesh's own processes. */
  readonly logs: string;
  /** The mesh's folder of sockets and state. */
  readonly run: string;
  /** The Node that runs them. */
  readonly node: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Heddle's own root folder. */
  readonly root: string;
  /** Main modules of what runs on each node. */
  readonly programs: { readonly agent: string; readonly dns: string };
  /** Folders of objects that agents and DNS follow. */
  readonly manifests: readonly string[];
  /** The control plane's addresses. */
  readonly controlPlane: readonly string[];
  /** Names the servers that are asked for names of the world. */
  readonly resolvConf: string;
  /** cgroup v2 folder of the mesh, above its nodes'. */
  readonly cgroup: string;
  say(line: string): void;
}

/** What runs on each node beside its pods: the agent, DNS, and the relay through which probes come from the node. */
export class NodeProcesses {
  readonly #settings: NodeProcessesSettings;
  readonly #agents = new Map<string, Component>();
  readonly #others: Component[] = [];

  constructor(settings: NodeProcessesSettings) {
    this.#settings = settings;
  }

  start(places: readonly NodePlace[]): void {
    const { run, node, root, programs } = this.#settings;
    for (const place of places) {
      const paths = nodePaths(run, place.name);
      mkdirSync(paths.state, { recursive: true, mode: 0o700 });
      rmSync(paths.readyFile, { force: true });
      const agent = [node, programs.agent, ...this.#agentFlags(place)];
      this.#agents.set(place.name, this.#component(`${place.name}-agent`, agent));
      const relay = [join(root, 'cli/network/node-relay.ts'), paths.relaySocket];
      this.#inside(place, 'relay', [...RELAY_NODE_FLAGS, ...relay]);
    }
  }

  /** Returns once every node's agent and relay serve; DNS is started then, on addresses that the agent gives. Fails with code `network` where one doesn't in time. */
  async ready(places: readonly NodePlace[]): Promise<void> {
    const { clock, run, logs, programs } = this.#settings;
    const endMs = clock.now() + agentReadyMs;
    for (const place of places) {
      const { readyFile, relaySocket } = nodePaths(run, place.name);
      while (!existsSync(readyFile) || !existsSync(relaySocket)) {
        if (clock.now() > endMs) {
          const said = this.#agents.get(place.name)?.lastOutput.trim().split('\n').slice(-5).join('\n  ');
          throw new HeddleError(
            'network',
            `the pod network of ${place.name} did not start: ${said || 'its agent printed nothing'}\n  (log: ${logs}/heddle-system/${place.name}-agent.log)`,
          );
        }
        await sleep(clock, pollMs);
      }
      this.#inside(place, 'dns', [programs.dns, ...this.#dnsFlags()]);
    }
  }

  /** Ends them, DNS and relays first. */
  async stop(): Promise<void> {
    await Promise.all(this.#others.map((component) => component.stop()));
    await Promise.all([...this.#agents.values()].map((component) => component.stop()));
  }

  #agentFlags(place: NodePlace): readonly string[] {
    const { run, manifests, controlPlane, cgroup } = this.#settings;
    const paths = nodePaths(run, place.name);
    return [
      ...[
        '--node',
        place.name,
        '--node-netns',
        netnsPath(place.netns),
        '--uplink',
        'eth0',
        '--mode',
        'tunnel',
      ],
      ...manifests.flatMap((folder) => ['--manifests', folder]),
      ...controlPlane.flatMap((address) => ['--control-plane', address]),
      ...['--state-dir', paths.state, '--socket', paths.cniSocket, '--admin-socket', paths.adminSocket],
      ...['--pins', paths.pins, '--cgroup', join(cgroup, place.name), '--ready-file', paths.readyFile],
    ];
  }

  #dnsFlags(): readonly string[] {
    const { manifests, resolvConf } = this.#settings;
    return [...manifests.flatMap((folder) => ['--manifests', folder]), '--resolv-conf', resolvConf];
  }

  /** A program of Node that runs in a node's network. */
  #inside(place: NodePlace, what: string, args: readonly string[]): void {
    const enter = ['nsenter', `--net=${netnsPath(place.netns)}`, '--', this.#settings.node];
    this.#others.push(this.#component(`${place.name}-${what}`, [...enter, ...args]));
  }

  #component(name: string, [command = '', ...args]: readonly string[]): Component {
    const { clock, children, logs, environment: env, root, say } = this.#settings;
    const component = new Component(clock, children, logs, { name, command, args, cwd: root, env }, say);
    component.start();
    return component;
  }
}
