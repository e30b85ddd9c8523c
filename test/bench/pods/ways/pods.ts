import { POD_RANGE } from '../bridge-cluster.ts';
import { addPod, isolate } from '../heddle-cluster.ts';
import { flannelRules, kubeProxyRules } from '../iptables-rules.ts';
import type { Stage } from '../stage.ts';
import type { BenchPod, Way } from '../way.ts';

export const PORT = 8080;
/** A second port of servers, which policies don't mention. */
export const REFUSED_PORT = 8081;

/** A pod's own server asked by another pod; `refused`: policy stands between them. */
export function wayTo(name: string, client: BenchPod, server: BenchPod, refused = false): Way {
  return {
    ...{ name, client, target: `${server.ip4}:${PORT}`, body: bodyOf(name) },
    refused: refused ? `${server.ip4}:${REFUSED_PORT}` : undefined,
    cgroups: [client.cgroup, server.cgroup],
  };
}

/** About as long as the answers of the other benchmarks, and no other way's. */
export function bodyOf(name: string): string {
  return name.padEnd(100, '.');
}

/** The client is on the first node, the server on the last. */
export async function waysToPods(stage: Stage, nodes: number): Promise<readonly Way[]> {
  const cluster = await stage.heddle(nodes);
  const ways: Way[] = [];
  for (const name of ['heddle+policy', 'heddle']) {
    const short = name === 'heddle' ? 'open' : 'isolated';
    const client = await addPod(cluster, `client-${short}`);
    const server = await addPod(cluster, `server-${short}`, nodes - 1);
    const isolated = short === 'isolated';
    if (isolated) isolate(cluster, client, server, PORT);
    stage.programs.serve(server, [PORT, REFUSED_PORT], bodyOf(name));
    ways.push(wayTo(name, client, server, isolated));
  }
  for (const name of ['bridge', 'bridge, bare', 'bridge+kube-proxy']) {
    const peer = stage.bridge(nodes, name !== 'bridge, bare');
    const [client, server] = [peer.addPod(1), peer.addPod(nodes)];
    const service = { clusterIp: '10.96.0.50', port: 80, endpoints: [{ ip: server.ip4, port: PORT }] };
    if (name !== 'bridge, bare') peer.addRules(flannelRules(POD_RANGE));
    if (name === 'bridge+kube-proxy') peer.addRules(kubeProxyRules([service], POD_RANGE));
    stage.programs.serve(server, [PORT], bodyOf(name));
    ways.push(wayTo(name, client, server));
  }
  return ways;
}
