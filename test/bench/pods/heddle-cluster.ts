import { chownSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SIDECAR } from '../../../common/contracts.ts';
import type { JsonObject } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import type { Place } from '../../network/sockets/program.ts';
import { TestCluster } from '../../support/network/cluster.ts';
import { runIn } from '../../support/network/commands.ts';
import { networkPolicy } from '../../support/policy-objects.ts';
import { serviceOf, sliceOf } from '../../support/service-objects.ts';
import type { IngressRule, ProxiedService } from './iptables-rules.ts';
import type { BenchPod } from './way.ts';

/** Namespace of all objects here: that of the objects of test/support. */
const NAMESPACE = 'shop';
export const SIDECAR_UID = 1337;

/** A cluster of Heddle's agents whose underlay is as plain as the peers'. */
export async function startHeddle(nodes: number): Promise<TestCluster> {
  const cluster = await TestCluster.start({ nodes });
  runIn(cluster.world.netns, 'sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=0');
  return cluster;
}

/** Both sides isolated, and only the client may ask the server, at one port. */
export function isolate(cluster: TestCluster, client: HeddlePod, server: HeddlePod, port: number): void {
  const ports = [{ protocol: 'TCP', port }];
  const [asClient, asServer] = [client, server].map(({ name }) => podsNamed(name));
  cluster.apply(
    networkPolicy(`from-${client.name}`, {
      ...{ podSelector: asClient ?? {}, policyTypes: ['Egress'] },
      egress: [{ to: [{ podSelector: asServer ?? {} }], ports }],
    }).object,
    networkPolicy(`to-${server.name}`, {
      ...{ podSelector: asServer ?? {}, policyTypes: ['Ingress'] },
      ingress: [{ from: [{ podSelector: asClient ?? {} }], ports }],
    }).object,
  );
}

/** A policy of one rule for each. */
export function applyPolicies(cluster: TestCluster, pod: HeddlePod, rules: readonly IngressRule[]): void {
  cluster.apply(
    ...rules.map(
      ({ cidr, port }, number) =>
        networkPolicy(`${pod.name}-${number}`, {
          ...{ podSelector: podsNamed(pod.name), policyTypes: ['Ingress'] },
          ingress: [{ from: [{ ipBlock: { cidr } }], ports: [{ protocol: 'TCP', port }] }],
        }).object,
    ),
  );
}

export function applyServices(cluster: TestCluster, services: readonly ProxiedService[]): void {
  const node = cluster.node(0).name;
  for (const [number, { clusterIp, port, endpoints }] of services.entries()) {
    const name = `service-${number}`;
    const spec: JsonObject = { clusterIP: clusterIp, clusterIPs: [clusterIp], ports: [{ port }] };
    const slice = sliceOf(
      name,
      endpoints.map(({ ip }) => `${ip} ${node}`),
      [{ name: '', port: endpoints[0]?.port ?? 0 }],
    );
    cluster.apply(serviceOf(name, spec).object, slice.object);
  }
}

/** Where the sidecar of a meshed pod runs, once its container is known by the Pod's status. */
export function startContainerOfSidecar(cluster: TestCluster, pod: HeddlePod): Place {
  const id = `sidecar-of-${pod.name}`;
  const cgroup = join(pod.cgroup, id);
  mkdirSync(cgroup);
  chownSync(cgroup, SIDECAR_UID, SIDECAR_UID);
  const file = join(cluster.manifests, `Pod.${NAMESPACE}.${pod.name}.json`);
  const object = JSON.parse(readFileSync(file, 'utf8')) as KubeObject;
  const statuses = [{ name: SIDECAR.container, containerID: `containerd://${id}` }];
  const status = { ...(object.status as JsonObject), initContainerStatuses: statuses };
  cluster.apply({ ...object, status });
  return { netns: pod.netns, cgroup, uid: SIDECAR_UID };
}

/** A pod of Heddle's network, labelled `app` with its name. */
export interface HeddlePod extends BenchPod {
  readonly name: string;
}

export async function addPod(
  cluster: TestCluster,
  name: string,
  node = 0,
  meshed = false,
): Promise<HeddlePod> {
  const pod = await cluster.addPod(name, { node, meshed, namespace: NAMESPACE, labels: { app: name } });
  // Without its own uid, which is no user's.
  return { name, netns: pod.netns, cgroup: pod.cgroup, ip4: pod.ip4 };
}

function podsNamed(name: string): JsonObject {
  return { matchLabels: { app: name } };
}
