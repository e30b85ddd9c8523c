import { ANNOTATIONS } from '../common/contracts.ts';
import { destinationKey } from '../common/names.ts';
import { spiffeId } from '../common/spiffe.ts';
import type { Workload } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import { namespaceOf, objectsOf, portList, portOf, recordOf, stringMap, textOf } from './read/meta.ts';
import type { ServiceInfo, ServicePort } from './services.ts';
import type { Endpoint, MtlsMode } from './snapshot.ts';

export type ModeOf = (workload: Workload, port: number) => MtlsMode;

export interface EndpointContext {
  readonly workloads: ReadonlyMap<string, Workload>;
  readonly trustDomain: string;
  readonly mode: ModeOf;
}

/** EndpointSlices by `namespace/service`. */
export function slicesByService(slices: readonly SourcedObject[]): Map<string, SourcedObject[]> {
  const found = new Map<string, SourcedObject[]>();
  for (const sourced of slices) {
    const service = stringMap(sourced.object.metadata.labels).get('kubernetes.io/service-name');
    if (service === undefined) continue;
    const key = `${namespaceOf(sourced.object)}/${service}`;
    found.set(key, [...(found.get(key) ?? []), sourced]);
  }
  return found;
}

/**
 * The endpoints of one Service port (discovery.k8s.io/v1): ready ones, and those that serve while they terminate, as
 * draining. One address is one endpoint, however many slices name it. Sorted by key.
 */
export function endpointsOf(
  service: ServiceInfo,
  port: ServicePort,
  slices: readonly SourcedObject[],
  context: EndpointContext,
): readonly Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const { object } of slices) {
    if (object.addressType === 'FQDN') continue;
    const target = objectsOf(object.ports).find(
      (entry) => (textOf(entry.name) ?? '') === port.name && (entry.protocol ?? 'TCP') === 'TCP',
    );
    const targetPort = portOf(target?.port);
    if (targetPort === undefined) continue;
    for (const entry of objectsOf(object.endpoints)) {
      const conditions = recordOf(entry.conditions);
      const ready = conditions.ready !== false;
      const draining = conditions.terminating === true && conditions.serving === true;
      if (!ready && !draining) continue;
      const health = ready && conditions.terminating !== true ? 'ready' : 'draining';
      for (const address of Array.isArray(entry.addresses) ? entry.addresses : []) {
        if (typeof address !== 'string' || address === '') continue;
        const endpoint = makeEndpoint(service.namespace, entry, address, targetPort, health, context);
        if (found.get(endpoint.key)?.health !== 'ready') found.set(endpoint.key, endpoint);
      }
    }
  }
  return [...found.values()].toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

function makeEndpoint(
  namespace: string,
  entry: Readonly<Record<string, unknown>>,
  address: string,
  port: number,
  health: Endpoint['health'],
  context: EndpointContext,
): Endpoint {
  const ref = recordOf(entry.targetRef);
  const name = ref.kind === 'Pod' ? textOf(ref.name) : undefined;
  const pod = name === undefined ? undefined : `${textOf(ref.namespace) ?? namespace}/${name}`;
  const workload = pod === undefined ? undefined : context.workloads.get(pod);
  const going = workload?.terminating === true;
  return {
    ...podEndpoint(workload, address, port, context),
    pod,
    node: textOf(entry.nodeName) ?? workload?.node,
    zone: textOf(entry.zone) ?? workload?.zone,
    health: going ? 'draining' : health,
  };
}

/** One port of a pod, or of an address that is no known pod. */
export function podEndpoint(
  workload: Workload | undefined,
  address: string,
  port: number,
  context: EndpointContext,
): Endpoint {
  const base = { key: destinationKey(address, port), address, port, weight: 1 };
  if (workload === undefined) {
    return {
      ...base,
      pod: undefined,
      node: undefined,
      zone: undefined,
      health: 'ready',
      mtls: false,
      identities: [],
    };
  }
  const skipped = portList(workload.annotations[ANNOTATIONS.skipInboundPorts]);
  const mtls = workload.meshed && !skipped.has(port) && context.mode(workload, port) !== 'DISABLE';
  const { namespace, serviceAccount } = workload;
  return {
    ...base,
    pod: `${namespace}/${workload.name}`,
    node: workload.node,
    zone: workload.zone,
    health: workload.terminating ? 'draining' : 'ready',
    mtls,
    identities: mtls ? [spiffeId({ trustDomain: context.trustDomain, namespace, serviceAccount })] : [],
  };
}
