import type { JsonObject, JsonValue } from '../../common/json.ts';
import { buildMesh } from '../../model/build.ts';
import type { RequestView } from '../../model/decision-types.ts';
import type { Mesh } from '../../model/mesh.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { DEFAULT_MESH_SETTINGS } from '../../model/settings.ts';
import { parseManifests } from '../../sources/files/parse.ts';

/** Objects for tests of the model; all in namespace shop unless they say otherwise. */

interface More extends JsonObject {
  readonly namespace?: string;
  readonly labels?: JsonObject;
  readonly annotations?: JsonObject;
  readonly creationTimestamp?: string;
}

export function object(
  apiVersion: string,
  kind: string,
  name: string,
  spec: JsonValue,
  more: More = {},
): SourcedObject {
  const { namespace = 'shop', labels = {}, annotations = {}, creationTimestamp, ...rest } = more;
  const metadata = {
    ...{ name, namespace, labels, annotations },
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
  };
  const whole = { apiVersion, kind, metadata, spec, ...rest } as SourcedObject['object'];
  return { object: whole, origin: { source: 'test.yaml', line: 1 } };
}

/** Objects of YAML, with their lines; throws where the text isn't sound. */
export function yaml(text: string): readonly SourcedObject[] {
  const { objects, problems } = parseManifests(text, 'test.yaml');
  const [problem] = problems;
  if (problem !== undefined) throw new Error(`test.yaml:${problem.line}: ${problem.message}`);
  return objects;
}

export function service(
  name: string,
  ip: string,
  ports?: readonly JsonObject[],
  more: More = {},
): SourcedObject {
  const spec = { clusterIP: ip, ports: ports ?? [{ name: 'http', port: 80, targetPort: 8080 }] };
  return object('v1', 'Service', name, spec, more);
}

export function pod(name: string, ip: string, more: More = {}): SourcedObject {
  const containers = [{ name, ports: [{ containerPort: 8080 }] }];
  const spec = { nodeName: 'n1', serviceAccountName: name.replace(/-\d+$/, ''), containers };
  const annotations = { 'heddle.dev/injected': 'default', ...more.annotations };
  return object('v1', 'Pod', name, spec, { status: { podIP: ip }, ...more, annotations });
}

export function slice(
  serviceName: string,
  endpoints: readonly JsonObject[],
  ports: readonly JsonObject[] = [{ name: 'http', port: 8080 }],
  more: More = {},
): SourcedObject {
  return object('discovery.k8s.io/v1', 'EndpointSlice', `${serviceName}-x`, null, {
    labels: { 'kubernetes.io/service-name': serviceName },
    addressType: 'IPv4',
    ...{ ports, endpoints },
    ...more,
  });
}

export function endpoint(podName: string, ip: string, conditions: JsonObject = { ready: true }): JsonObject {
  return { addresses: [ip], conditions, targetRef: { kind: 'Pod', name: podName } };
}

export const PARENT = { group: '', kind: 'Service', name: 'catalog' };

export function route(spec: JsonValue, name = 'r', more: More = {}): SourcedObject {
  return object('gateway.networking.k8s.io/v1', 'HTTPRoute', name, spec, more);
}

export function policy(spec: JsonValue, name = 'p', more: More = {}): SourcedObject {
  return object('heddle.dev/v1alpha1', 'TrafficPolicy', name, spec, more);
}

export function mtlsPolicy(spec: JsonValue, name = 'm', more: More = {}): SourcedObject {
  return object('heddle.dev/v1alpha1', 'MTLSPolicy', name, spec, more);
}

/** Services catalog and v2 with a meshed pod each. */
export const WORLD: readonly SourcedObject[] = [
  service('catalog', '10.96.0.1'),
  service('v2', '10.96.0.2'),
  pod('catalog-1', '10.244.0.2'),
  pod('v2-1', '10.244.0.3'),
  slice('catalog', [endpoint('catalog-1', '10.244.0.2')]),
  slice('v2', [endpoint('v2-1', '10.244.0.3')]),
];
export const KEY = 'catalog.shop.svc.cluster.local:80';

export function build(...more: readonly SourcedObject[]): Mesh {
  return buildMesh([...WORLD, ...more], DEFAULT_MESH_SETTINGS);
}

/** `Accepted True Accepted` of every parent of every object that has a status. */
export function conditions(mesh: Mesh): readonly string[] {
  return mesh.statuses.flatMap(({ parents }) =>
    parents.flatMap((parent) => parent.conditions.map((one) => `${one.type} ${one.status} ${one.reason}`)),
  );
}

/** What all conditions say, for tests that look for a word. */
export function messages(mesh: Mesh): string {
  return mesh.statuses
    .flatMap(({ parents }) => parents.flatMap((parent) => parent.conditions.map(({ message }) => message)))
    .join('\n');
}

export function request(target: string, headers: Readonly<Record<string, string>> = {}): RequestView {
  const [method = '', url = ''] = target.split(' ');
  const mark = url.indexOf('?');
  return {
    method,
    path: mark < 0 ? url : url.slice(0, mark),
    query: mark < 0 ? '' : url.slice(mark + 1),
    header: (name) => headers[name],
    sourceAddress: '10.244.9.9',
  };
}
