import { ANNOTATIONS } from '../common/contracts.ts';
import type { SourcedObject } from './objects.ts';
import { protocolOf } from './protocols.ts';
import { keyOf, namespaceOf, objectsOf, portList, portOf, recordOf, stringMap, textOf } from './read/meta.ts';
import { checkService } from './service-check.ts';
import type { AppProtocol } from './snapshot.ts';
import type { Findings } from './status.ts';

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
export class Services {
  readonly #services = new Map<string, ServiceInfo>();
  readonly #external = new Set<string>();

  constructor(services: readonly SourcedObject[], findings: Findings) {
    for (const sourced of services) {
      checkService(sourced, findings);
      const key = keyOf(sourced.object);
      if (recordOf(sourced.object.spec).type === 'ExternalName') this.#external.add(key);
      else this.#services.set(key, readService(sourced));
    }
  }

  get(key: string): ServiceInfo | undefined {
    return this.#services.get(key);
  }

  entries(): IterableIterator<[string, ServiceInfo]> {
    return this.#services.entries();
  }

  /** Why `get` has nothing, in words for the person who named it. */
  whyNot(key: string): string {
    return this.#external.has(key)
      ? `Service ${key} is of type ExternalName, a name of the outside: routes and policies can't use it`
      : `there is no Service ${key}`;
  }
}

function readService(sourced: SourcedObject): ServiceInfo {
  const spec = recordOf(sourced.object.spec);
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
  return {
    sourced,
    namespace: namespaceOf(sourced.object),
    name: sourced.object.metadata.name,
    clusterIps: [...new Set(ips)].filter((ip) => ip !== 'None'),
    headless: ips.includes('None'),
    ports: [...byPort.values()],
  };
}
