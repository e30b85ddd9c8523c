import { clusterName } from '../../common/names.ts';
import type { SourcedObject } from '../objects.ts';
import { namespaceOf, objectsOf, recordOf } from '../read/meta.ts';
import type { ServiceInfo } from '../services.ts';
import type { WeightedBackend } from '../snapshot.ts';
import type { ResolvedReason } from '../status.ts';
import type { BackendRef } from './http-route.ts';

export interface ResolvedBackend {
  readonly backend: WeightedBackend;
  /** Set where the reference can't be followed. */
  readonly reason: ResolvedReason | undefined;
}

/** Whether HTTPRoutes of `from` may refer to a Service elsewhere. */
export type Grants = (from: string, toNamespace: string, service: string) => boolean;

/** ReferenceGrants (gateway.networking.k8s.io/v1beta1 and v1) from HTTPRoutes to Services. */
export function readGrants(grants: readonly SourcedObject[]): Grants {
  const allowed = new Set<string>();
  for (const { object } of grants) {
    const spec = recordOf(object.spec);
    for (const from of objectsOf(spec.from)) {
      if (from.group !== 'gateway.networking.k8s.io' || from.kind !== 'HTTPRoute') continue;
      for (const to of objectsOf(spec.to)) {
        if (to.group !== '' || to.kind !== 'Service') continue;
        const name = typeof to.name === 'string' && to.name !== '' ? to.name : '*';
        allowed.add(`${String(from.namespace)} ${namespaceOf(object)} ${name}`);
      }
    }
  }
  return (from, to, service) => allowed.has(`${from} ${to} ${service}`) || allowed.has(`${from} ${to} *`);
}

/** The cluster behind a reference, or why requests that it would have got are answered 500. */
export function resolveBackend(
  ref: BackendRef,
  routeNamespace: string,
  services: ReadonlyMap<string, ServiceInfo>,
  grants: Grants,
): ResolvedBackend {
  const cluster = clusterName(ref.namespace, ref.name, ref.port ?? 0);
  const invalid = (reason: ResolvedReason, why: string): ResolvedBackend => ({
    backend: { cluster, weight: ref.weight, invalid: why },
    reason,
  });
  const key = `${ref.namespace}/${ref.name}`;
  if (ref.group !== '' || ref.kind !== 'Service') {
    return invalid('InvalidKind', `backendRef ${ref.group}/${ref.kind} ${ref.name} is not a Service`);
  }
  if (ref.namespace !== routeNamespace && !grants(routeNamespace, ref.namespace, ref.name)) {
    return invalid(
      'RefNotPermitted',
      `no ReferenceGrant in ${ref.namespace} allows Service ${key} to HTTPRoutes of ${routeNamespace}`,
    );
  }
  const service = services.get(key);
  if (service === undefined) return invalid('BackendNotFound', `there is no Service ${key}`);
  if (!service.ports.some((one) => one.port === ref.port)) {
    return invalid('BackendNotFound', `Service ${key} has no TCP port ${ref.port ?? '(none given)'}`);
  }
  return { backend: { cluster, weight: ref.weight, invalid: undefined }, reason: undefined };
}
