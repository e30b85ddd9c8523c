import type { JsonObject, JsonValue } from '../../../common/json.ts';
import type { KubeObject } from '../../../model/objects.ts';
import { serviceOf, sliceOf } from '../../support/service-objects.ts';

export const CLUSTER_IPS = ['10.96.0.50', 'fd10:96::50'] as const;
export const TARGET_PORT = 8080;
export const ECHO_PORT = 8081;

const PORTS: readonly JsonObject[] = [
  { name: 'tcp', port: 80, protocol: 'TCP' },
  { name: 'udp', port: 80, protocol: 'UDP' },
  { name: 'echo', port: 81, protocol: 'TCP' },
  { name: 'echo-udp', port: 81, protocol: 'UDP' },
];

/** A dual-stack Service `shop/web`: TCP and UDP at port 80 lead to 8080, those at port 81 to 8081. */
export function service(spec: JsonObject = {}, more: JsonObject = {}): KubeObject {
  const ports = (spec.ports as readonly JsonObject[] | undefined) ?? PORTS;
  return serviceOf('web', { clusterIP: CLUSTER_IPS[0], clusterIPs: [...CLUSTER_IPS], ...spec, ports }, more)
    .object;
}

/** The node port of port 81 is the one after. */
export function nodePorts(port: number): { readonly ports: JsonValue } {
  return { ports: PORTS.map((one) => ({ ...one, nodePort: one.port === 81 ? port + 1 : port })) };
}

/** Slices of `shop/web`, one for each family; endpoints as test/support/service-objects.ts writes them. */
export class Slices {
  readonly #objects: readonly KubeObject[];

  /** `targets`: where port 80 leads to, and port 81. */
  constructor(targets: readonly [number, number] = [TARGET_PORT, ECHO_PORT]) {
    const ports = PORTS.map((one) => ({ ...one, port: one.port === 81 ? targets[1] : targets[0] }));
    this.#objects = ['192.0.2.255', '2001:db8::ffff'].map((ip) => sliceOf('web', [ip], ports).object);
  }

  of(endpoints: readonly string[]): readonly KubeObject[] {
    return this.#objects.map((object) => {
      const six = object.addressType === 'IPv6';
      const own = endpoints.filter((one) => one.split(' ')[0]?.includes(':') === six);
      const filled = own.length === 0 ? [] : (sliceOf('web', own).object.endpoints as JsonValue);
      return { ...object, endpoints: filled } as KubeObject;
    });
  }
}

/** Both addresses of pods as endpoints on their nodes, with more words for each. */
export function endpointsOf(
  pods: readonly { readonly ip4: string; readonly ip6: string; readonly node: { readonly name: string } }[],
  words = '',
): readonly string[] {
  return pods.flatMap(({ ip4, ip6, node }) => [ip4, ip6].map((ip) => `${ip} ${node.name} ${words}`.trim()));
}
