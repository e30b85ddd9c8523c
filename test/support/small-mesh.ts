import { buildMesh } from '../../model/build.ts';
import type { Mesh, MeshSettings } from '../../model/mesh.ts';
import type { KubeObject, SourcedObject } from '../../model/objects.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import {
  endpointSliceObject,
  type PodRecord,
  podObject,
  serviceObject,
} from '../integration/mesh/manifests.ts';

/** A small mesh for what stands behind the model: objects as manifests have them, made of little more than names. */

export function sourced(object: object): SourcedObject {
  return { object: object as KubeObject, origin: { source: 'test.yaml', line: 1 } };
}

export function pod(namespace: string, name: string, ip: string, serviceAccount = name): PodRecord {
  return { namespace, name, labels: { app: name }, serviceAccount, ip, meshed: true, port: 8080 };
}

/** A Service on port 80 of the pods that bear its name as their `app`, with its EndpointSlice. */
export function service(
  namespace: string,
  name: string,
  clusterIp: string,
  pods: readonly PodRecord[] = [],
): object[] {
  const record = { namespace, name, port: 80, targetPort: 8080, selector: { app: name }, clusterIp };
  return [serviceObject(record), endpointSliceObject(record, pods)];
}

export interface RouteOptions {
  readonly namespace: string;
  readonly name: string;
  /** The parent Service, `namespace/name`. */
  readonly parent: string;
  readonly rules: readonly object[];
  readonly generation?: number;
}

export function route({ namespace, name, parent, rules, generation }: RouteOptions): object {
  const [parentNamespace, parentName] = parent.split('/');
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { namespace, name, ...(generation === undefined ? {} : { generation }) },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', namespace: parentNamespace, name: parentName, port: 80 }],
      rules,
    },
  };
}

export function policy(kind: 'TrafficPolicy' | 'MTLSPolicy', namespace: string, name: string, spec: object) {
  return { apiVersion: 'heddle.dev/v1alpha1', kind, metadata: { namespace, name }, spec };
}

export function meshOf(objects: readonly object[], settings: Partial<MeshSettings> = {}): Mesh {
  return buildMesh(objects.map(sourced), { ...DEFAULT_MESH_SETTINGS, ...settings });
}

const WEB = pod('shop', 'web', '10.244.0.1');
const CATALOG = pod('shop', 'catalog', '10.244.0.2');

/** Namespace `shop`: pod `web`, pod and Service `catalog`, Services `v1` and `v2` without endpoints. */
export const SHOP: readonly object[] = [
  ...[WEB, CATALOG].map(podObject),
  ...service('shop', 'catalog', '10.96.0.1', [CATALOG]),
  ...service('shop', 'v1', '10.96.0.2'),
  ...service('shop', 'v2', '10.96.0.3'),
];

export const CATALOG_KEY = 'catalog.shop.svc.cluster.local:80';
export const clusterOf = (name: string) => `outbound|80||${name}.shop.svc.cluster.local`;
