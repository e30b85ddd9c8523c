import { ANNOTATIONS } from '../common/contracts.ts';
import type { Workload } from './mesh.ts';
import type { KubeObject, SourcedObject } from './objects.ts';
import { keyOf, namespaceOf, objectsOf, portList, portOf, recordOf, stringMap, textOf } from './read/meta.ts';
import type { Findings } from './status.ts';

/** Pods by `namespace/name`. Ones that have ended are not workloads any more. */
export function readWorkloads(
  pods: readonly SourcedObject[],
  zones: ReadonlyMap<string, string>,
  findings: Findings,
): Map<string, Workload> {
  const found = new Map<string, Workload>();
  for (const sourced of pods) {
    const read = podOf(sourced.object, zones);
    if (read === undefined) continue;
    for (const { name, bad } of read.badPorts) {
      const message = `${name}: not a port: ${bad.join(', ')}`;
      findings.problem(sourced, 'error', ['metadata', 'annotations', name], message);
    }
    found.set(keyOf(sourced.object), read.workload);
  }
  return found;
}

/** Workloads by address. An address that several pods have (host networking) tells nothing of who answers. */
export function workloadsByAddress(
  workloads: ReadonlyMap<string, Workload>,
): ReadonlyMap<string, Workload | undefined> {
  const found = new Map<string, Workload | undefined>();
  for (const workload of workloads.values()) {
    for (const ip of workload.ips) found.set(ip, found.has(ip) ? undefined : workload);
  }
  return found;
}

/** What a Pod says, and which of its annotations name what is no port. */
interface PodRead {
  readonly workload: Workload;
  readonly badPorts: readonly { readonly name: string; readonly bad: readonly string[] }[];
}

/** Objects never change: a Pod that is in one mesh after the other is read once, and stays the same workload. */
const reads = new WeakMap<KubeObject, PodRead>();

/** Undefined for a Pod that has ended. */
function podOf(object: KubeObject, zones: ReadonlyMap<string, string>): PodRead | undefined {
  const known = reads.get(object);
  if (known !== undefined && known.workload.zone === zoneOf(known.workload.node, zones)) return known;
  const status = recordOf(object.status);
  if (status.phase === 'Succeeded' || status.phase === 'Failed') return undefined;
  const spec = recordOf(object.spec);
  const annotations = stringMap(object.metadata.annotations);
  const badPorts = [ANNOTATIONS.skipInboundPorts, ANNOTATIONS.opaquePorts]
    .map((name) => ({ name, bad: portList(annotations.get(name)).bad }))
    .filter(({ bad }) => bad.length > 0);
  const node = textOf(spec.nodeName);
  const workload: Workload = {
    namespace: namespaceOf(object),
    name: object.metadata.name,
    labels: Object.fromEntries(stringMap(object.metadata.labels)),
    annotations: Object.fromEntries(annotations),
    serviceAccount: textOf(spec.serviceAccountName) ?? 'default',
    node,
    zone: zoneOf(node, zones),
    ips: podIps(status),
    meshed: annotations.has(ANNOTATIONS.injected),
    terminating: textOf(object.metadata.deletionTimestamp) !== undefined,
    containerPorts: [
      ...objectsOf(spec.initContainers).filter((one) => one.restartPolicy === 'Always'),
      ...objectsOf(spec.containers),
    ].flatMap(containerPorts),
  };
  const read = { workload, badPorts };
  reads.set(object, read);
  return read;
}

function zoneOf(node: string | undefined, zones: ReadonlyMap<string, string>): string | undefined {
  return node === undefined ? undefined : zones.get(node);
}

function podIps(status: Readonly<Record<string, unknown>>): readonly string[] {
  const many = objectsOf(status.podIPs).map((one) => textOf(one.ip));
  const all = [textOf(status.podIP), ...many].filter((ip) => ip !== undefined);
  return [...new Set(all)];
}

function containerPorts(container: Readonly<Record<string, unknown>>): Workload['containerPorts'] {
  return objectsOf(container.ports).flatMap((entry) => {
    const port = portOf(entry.containerPort);
    if (port === undefined) return [];
    const protocol = entry.protocol === 'UDP' || entry.protocol === 'SCTP' ? entry.protocol : 'TCP';
    return [{ name: textOf(entry.name), port, protocol }];
  });
}
