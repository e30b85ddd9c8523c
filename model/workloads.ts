import { ANNOTATIONS } from '../common/contracts.ts';
import type { Workload } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
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
    const { object } = sourced;
    const status = recordOf(object.status);
    if (status.phase === 'Succeeded' || status.phase === 'Failed') continue;
    const spec = recordOf(object.spec);
    const annotations = stringMap(object.metadata.annotations);
    for (const name of [ANNOTATIONS.skipInboundPorts, ANNOTATIONS.opaquePorts]) {
      const { bad } = portList(annotations.get(name));
      if (bad.length > 0) {
        findings.problem(
          sourced,
          'error',
          ['metadata', 'annotations', name],
          `${name}: not a port: ${bad.join(', ')}`,
        );
      }
    }
    const node = textOf(spec.nodeName);
    found.set(keyOf(object), {
      namespace: namespaceOf(object),
      name: object.metadata.name,
      labels: Object.fromEntries(stringMap(object.metadata.labels)),
      annotations: Object.fromEntries(annotations),
      serviceAccount: textOf(spec.serviceAccountName) ?? 'default',
      node,
      zone: node === undefined ? undefined : zones.get(node),
      ips: podIps(status),
      meshed: annotations.has(ANNOTATIONS.injected),
      terminating: textOf(object.metadata.deletionTimestamp) !== undefined,
      containerPorts: [
        ...objectsOf(spec.initContainers).filter((one) => one.restartPolicy === 'Always'),
        ...objectsOf(spec.containers),
      ].flatMap(containerPorts),
    });
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
