import { POD_RANGE } from '../bridge-cluster.ts';
import { addPod, applyServices } from '../heddle-cluster.ts';
import { kubeProxyRules, type ProxiedService } from '../iptables-rules.ts';
import type { Stage } from '../stage.ts';
import type { BenchPod, Way } from '../way.ts';
import { bodyOf, PORT } from './pods.ts';

const COUNTS = [1, 1000];
const servicePort = 80;

/** Asked is the Service in the middle: rules that are looked at in turn cost that much on average. */
export async function waysToServices(stage: Stage): Promise<readonly Way[]> {
  const ways: Way[] = [];
  for (const count of COUNTS) {
    const name = `heddle, ${count}`;
    const cluster = await stage.heddle(1);
    const client = await addPod(cluster, 'client');
    const servers = [await addPod(cluster, 'server-1'), await addPod(cluster, 'server-2')];
    applyServices(cluster, services(count, servers));
    for (const server of servers) stage.programs.serve(server, [PORT], bodyOf(name));
    ways.push(wayTo(name, client, servers, count));
  }
  for (const count of COUNTS) {
    const name = `kube-proxy, ${count}`;
    const peer = stage.bridge(1, true);
    const client = peer.addPod();
    const servers = [peer.addPod(), peer.addPod()];
    peer.addRules(kubeProxyRules(services(count, servers), POD_RANGE));
    for (const server of servers) stage.programs.serve(server, [PORT], bodyOf(name));
    ways.push(wayTo(name, client, servers, count));
  }
  return ways;
}

function wayTo(name: string, client: BenchPod, servers: readonly BenchPod[], count: number): Way {
  const target = `${clusterIpOf(Math.floor(count / 2))}:${servicePort}`;
  const cgroups = [client, ...servers].map(({ cgroup }) => cgroup);
  return { name, client, target, body: bodyOf(name), cgroups };
}

function services(count: number, servers: readonly BenchPod[]): readonly ProxiedService[] {
  const endpoints = servers.map(({ ip4 }) => ({ ip: ip4, port: PORT }));
  return Array.from({ length: count }, (_, number) => ({
    clusterIp: clusterIpOf(number),
    port: servicePort,
    endpoints,
  }));
}

function clusterIpOf(number: number): string {
  return `10.96.${1 + Math.floor(number / 250)}.${1 + (number % 250)}`;
}
