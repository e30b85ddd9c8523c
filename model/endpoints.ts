import { destinationKey } from '../common/names.ts';
import { spiffeId } from '../common/spiffe.ts';
import type { Workload } from './mesh.ts';
import type { SourcedObject } from './objects.ts';
import { type FieldPath, shown } from './read/fields.ts';
import { namespaceOf, objectsOf, portOf, recordOf, stringMap, textOf } from './read/meta.ts';
import type { ServiceInfo, ServicePort } from './services.ts';
import type { Endpoint, MtlsMode } from './snapshot.ts';
import type { Findings } from './status.ts';

export interface EndpointContext {
  readonly workloads: ReadonlyMap<string, Workload>;
  /** Undefined for an address of several pods. */
  readonly byAddress: ReadonlyMap<string, Workload | undefined>;
  readonly trustDomain: string;
  /** DISABLE where the sidecar isn't in the way of a port. */
  mode(workload: Workload, port: number): MtlsMode;
}

/** EndpointSlices by `namespace/service`. Ones without the label `kubernetes.io/service-name` belong to no Service. */
export function slicesByService(
  slices: readonly SourcedObject[],
  findings: Findings,
): ReadonlyMap<string, readonly SourcedObject[]> {
  const found = new Map<string, SourcedObject[]>();
  for (const sourced of slices) {
    const service = stringMap(sourced.object.metadata.labels).get('kubernetes.io/service-name');
    if (service === undefined) continue;
    checkSlice(sourced, findings);
    const key = `${namespaceOf(sourced.object)}/${service}`;
    const same = found.get(key);
    if (same === undefined) found.set(key, [sourced]);
    else same.push(sourced);
  }
  return found;
}

/** Says which endpoints of a slice written by hand can't be used. */
function checkSlice(sourced: SourcedObject, findings: Findings): void {
  const { object } = sourced;
  const report = (path: FieldPath, message: string) => findings.problem(sourced, 'error', path, message);
  if (object.addressType !== 'IPv4' && object.addressType !== 'IPv6') {
    report(['addressType'], `addressType must be IPv4 or IPv6, not ${shown(object.addressType)}`);
  }
  for (const [index, port] of objectsOf(object.ports).entries()) {
    if (portOf(port.port) !== undefined) continue;
    report(['ports', index, 'port'], `ports[${index}].port must be a port, not ${shown(port.port)}`);
  }
  for (const [index, entry] of objectsOf(object.endpoints).entries()) {
    const texts = Array.isArray(entry.addresses) ? entry.addresses : [];
    if (texts.length > 0 && texts.every((one) => textOf(one) !== undefined)) continue;
    report(['endpoints', index], `endpoints[${index}].addresses must be a list of addresses`);
  }
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
  // A slice written by hand names no pod; who answers at the address has its identity all the same.
  const workload =
    (pod === undefined ? undefined : context.workloads.get(pod)) ?? context.byAddress.get(address);
  const going = workload?.terminating === true;
  return {
    ...podEndpoint(workload, address, port, context),
    pod: workload === undefined ? pod : keyOfWorkload(workload),
    node: textOf(entry.nodeName) ?? workload?.node,
    zone: textOf(entry.zone) ?? workload?.zone,
    health: going ? 'draining' : health,
  };
}

function keyOfWorkload({ namespace, name }: Workload): string {
  return `${namespace}/${name}`;
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
  const mtls = workload.meshed && context.mode(workload, port) !== 'DISABLE';
  const { namespace, serviceAccount } = workload;
  return {
    ...base,
    pod: keyOfWorkload(workload),
    node: workload.node,
    zone: workload.zone,
    health: workload.terminating ? 'draining' : 'ready',
    mtls,
    identities: mtls ? [spiffeId({ trustDomain: context.trustDomain, namespace, serviceAccount })] : [],
  };
}
