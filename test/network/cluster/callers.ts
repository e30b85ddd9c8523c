import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askAgent } from '../../../cli/client/agents.ts';
import type { ServiceStatus } from '../../../common/pod-network.ts';
import type { ClusterPod, TestCluster, TestNode } from '../../support/network/cluster.ts';
import { eventually } from '../../support/wait.ts';
import { type Place, Program } from '../sockets/program.ts';

const TRAFFIC = fileURLToPath(new URL('traffic.py', import.meta.url));
const inForceMs = 10_000;

/** A program with net.py's and traffic.py's helpers. */
export async function startProgram(place: Place): Promise<Program> {
  const program = await Program.start(place);
  await program.run(`exec(open("${TRAFFIC}").read(), globals())`);
  return program;
}

/** Where a program may run: a pod, a node's own cgroup, or the world. */
export type Spot = ClusterPod | TestNode | 'world';

/** One program with net.py's and traffic.py's helpers in each pod, node and the world, as far as a test asks for it. */
export class Callers {
  readonly #cluster: TestCluster;
  readonly #programs = new Map<string, Promise<Program>>();

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }

  in(spot: Spot): Promise<Program> {
    const place = placeOf(this.#cluster, spot);
    const known = this.#programs.get(place.netns) ?? startProgram(place);
    this.#programs.set(place.netns, known);
    return known;
  }

  /** Serves TCP and UDP at every address of the place: callers are told `name` and their own address. */
  async serve(spot: Spot, name: string, port: number): Promise<void> {
    const program = await this.in(spot);
    const { ip4, ip6 } = spot === 'world' ? this.#cluster.world : spot;
    for (const address of [ip4, ip6]) await program.run(`serve("${name}", "${address}", ${port})`);
  }

  async end(spot: Spot): Promise<void> {
    const { netns } = placeOf(this.#cluster, spot);
    await (await this.#programs.get(netns))?.stop();
    this.#programs.delete(netns);
  }

  async stop(): Promise<void> {
    for (const program of this.#programs.values()) await (await program).stop();
    this.#programs.clear();
  }
}

/** Of a program in the world: above the nodes' cgroups, so that no program of Heddle is asked. */
export function placeOf(cluster: TestCluster, spot: Spot): Place {
  if (spot !== 'world') return { netns: spot.netns, cgroup: spot.cgroup };
  return { netns: cluster.world.netns, cgroup: dirname(cluster.node(0).cgroup) };
}

/** What the agent of a node says at its admin socket. */
export function ask<T>({ name, adminSocket }: TestNode, path: string): Promise<T> {
  return askAgent<T>({ node: name, socket: adminSocket }, path);
}

/** Waits until a node serves an address and port by these backends, in the kernel's maps. */
async function served(
  node: TestNode,
  ip: string,
  port: number,
  backends: readonly string[],
  scope: ServiceStatus['scope'] = 'internal',
): Promise<void> {
  const wanted = backends.toSorted().join(' ');
  await eventually(
    async () => {
      const { items } = await ask<{ items: readonly ServiceStatus[] }>(node, '/services?kernel=1');
      return items
        .filter((one) => one.ip === ip && one.port === port && one.scope === scope)
        .some((one) => one.kernel === 'same' && one.backends.toSorted().join(' ') === wanted);
    },
    { deadlineMs: inForceMs, what: `${node.name} serves ${ip} port ${port} by ${wanted || 'nobody'}` },
  );
}

/** `ip:port`, with the brackets of IPv6. */
function endpoint(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** A file that agents read before those of Services, Pods and policies: who has seen it changed has seen them as well. */
const MARKER = { namespace: 'a', name: 'marker' };
const MARKER_IP = '10.96.255.1';
const MARKER_BACKEND = '192.0.2.254';
let marks = 0;

/** Waits until what was applied so far is in the kernel's maps on every node whose agent runs. */
export async function inForce(
  cluster: TestCluster,
  nodes: readonly TestNode[] = cluster.nodes,
): Promise<void> {
  const port = ++marks;
  const labels = { 'kubernetes.io/service-name': MARKER.name };
  cluster.apply(
    {
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { ...MARKER, labels } },
      ...{ addressType: 'IPv4', endpoints: [{ addresses: [MARKER_BACKEND] }], ports: [{ name: '', port }] },
    },
    {
      ...{ apiVersion: 'v1', kind: 'Service', metadata: MARKER },
      spec: { clusterIP: MARKER_IP, ports: [{ port: 1 }] },
    },
  );
  await Promise.all(nodes.map((node) => served(node, MARKER_IP, 1, [endpoint(MARKER_BACKEND, port)])));
}
