import { ANNOTATIONS } from '../common/contracts.ts';
import { namespacedName, type SourcedObject } from './objects.ts';
import { namespaceOf, objectsOf, portList, portOf, recordOf, stringMap, textOf } from './read/meta.ts';
import type { AppProtocol } from './snapshot.ts';

export interface ServicePort {
  readonly name: string;
  readonly port: number;
  readonly protocol: AppProtocol;
}

export interface ServiceInfo {
  readonly sourced: SourcedObject;
  readonly namespace: string;
  readonly name: string;
  readonly clusterIps: readonly string[];
  readonly headless: boolean;
  readonly ports: readonly ServicePort[];
}

/** Services by `namespace/name`, TCP ports only. ExternalName Services are names of the outside and stay out. */
export function readServices(services: readonly SourcedObject[]): Map<string, ServiceInfo> {
  const found = new Map<string, ServiceInfo>();
  for (const sourced of services) {
    const spec = recordOf(sourced.object.spec);
    if (spec.type === 'ExternalName') continue;
    const annotations = stringMap(sourced.object.metadata.annotations);
    const opaque = portList(annotations.get(ANNOTATIONS.opaquePorts));
    const listed = Array.isArray(spec.clusterIPs) ? spec.clusterIPs : [];
    const ips = [spec.clusterIP, ...listed].map(textOf).filter((ip) => ip !== undefined);
    const byPort = new Map<number, ServicePort>();
    for (const entry of objectsOf(spec.ports)) {
      const port = portOf(entry.port);
      if (port === undefined || (entry.protocol ?? 'TCP') !== 'TCP' || byPort.has(port)) continue;
      const name = textOf(entry.name) ?? '';
      const protocol = opaque.has(port) ? 'tcp' : protocolOf(textOf(entry.appProtocol), name);
      byPort.set(port, { name, port, protocol });
    }
    found.set(namespacedName(sourced.object), {
      sourced,
      namespace: namespaceOf(sourced.object),
      name: sourced.object.metadata.name,
      clusterIps: [...new Set(ips)].filter((ip) => ip !== 'None'),
      headless: ips.includes('None'),
      ports: [...byPort.values()],
    });
  }
  return found;
}

const PROTOCOLS: ReadonlyMap<string, AppProtocol> = new Map([
  ['http', 'http'],
  ['http1', 'http'],
  ['kubernetes.io/ws', 'http'],
  ['http2', 'http2'],
  ['h2c', 'http2'],
  ['kubernetes.io/h2c', 'http2'],
  ['grpc', 'grpc'],
  ['tcp', 'tcp'],
  ['kubernetes.io/tcp', 'tcp'],
  ['tls', 'tls'],
  ['https', 'tls'],
  ['kubernetes.io/wss', 'tls'],
]);

/** `appProtocol`, then the port's name up to its first dash; `auto` (detection) where neither says anything known. */
export function protocolOf(appProtocol: string | undefined, portName: string): AppProtocol {
  if (appProtocol !== undefined) {
    const declared = PROTOCOLS.get(appProtocol.toLowerCase());
    if (declared !== undefined) return declared;
  }
  return PROTOCOLS.get(portName.split('-')[0]?.toLowerCase() ?? '') ?? 'auto';
}
