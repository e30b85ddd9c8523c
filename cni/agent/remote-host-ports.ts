import type { SourcedObject } from '../../model/objects.ts';
import { namespaceOf, objectsOf, portOf, recordOf, textOf } from '../../model/read/meta.ts';
import type { TransportName } from '../maps/constants.ts';
import { statusIps } from '../policy/pods.ts';
import type { HostPortMapping } from '../services/plan.ts';
import type { ClusterNode } from './nodes.ts';

/** hostPorts of pods that run on other nodes, as the Pods say; those of this node's pods are told by the container runtime. */
export function remoteHostPorts(
  pods: readonly SourcedObject[],
  nodes: ReadonlyMap<string, ClusterNode>,
  ownNode: string,
): readonly HostPortMapping[] {
  return pods.flatMap(({ object }) => {
    const spec = recordOf(object.spec);
    const home = textOf(spec.nodeName);
    const node = home === undefined || home === ownNode ? undefined : nodes.get(home);
    if (node === undefined) return [];
    const sidecars = objectsOf(spec.initContainers).filter((one) => one.restartPolicy === 'Always');
    const ports = [...objectsOf(spec.containers), ...sidecars].flatMap(({ ports }) => objectsOf(ports));
    return ports.flatMap((port): readonly HostPortMapping[] => {
      const hostPort = portOf(port.hostPort);
      const containerPort = portOf(port.containerPort);
      const protocol = textOf(port.protocol) ?? 'TCP';
      if (hostPort === undefined || containerPort === undefined || !isTransport(protocol)) return [];
      const where = { nodeAddresses: node.addresses, hostIp: textOf(port.hostIP) };
      const pod = { namespace: namespaceOf(object), pod: object.metadata.name, podIps: statusIps(object) };
      return [{ ...where, ...pod, hostPort, containerPort, protocol }];
    });
  });
}

function isTransport(protocol: string): protocol is TransportName {
  return protocol === 'TCP' || protocol === 'UDP' || protocol === 'SCTP';
}
