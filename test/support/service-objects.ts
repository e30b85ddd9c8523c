import { protocolName, SCOPE } from '../../cni/maps/constants.ts';
import { compileServices } from '../../cni/services/compile.ts';
import type { ServiceInput, ServicePlan } from '../../cni/services/plan.ts';
import { addressText } from '../../common/address.ts';
import type { JsonObject, JsonValue } from '../../common/json.ts';
import type { SourcedObject } from '../../model/objects.ts';
import { object } from './model-objects.ts';

/** An endpoint in short: `10.244.1.2 n1 zone=a zones=a,b nodes=n1 unready serving stopping`. */
function endpointOf(text: string): JsonObject {
  const [ip = '', ...words] = text.split(' ');
  const conditions: Record<string, boolean> = {};
  const entry: Record<string, JsonValue> = { addresses: [ip], conditions };
  const hints: Record<string, JsonValue> = {};
  for (const word of words) {
    const [name = '', value] = word.split('=');
    const names = (value ?? '').split(',').map((one) => ({ name: one }));
    if (name === 'unready') conditions.ready = false;
    else if (name === 'serving' || name === 'refusing') conditions.serving = name === 'serving';
    else if (name === 'stopping') conditions.terminating = true;
    else if (name === 'zone') entry.zone = value ?? '';
    else if (name === 'zones') hints.forZones = names;
    else if (name === 'nodes') hints.forNodes = names;
    else entry.nodeName = name;
  }
  return Object.keys(hints).length === 0 ? entry : { ...entry, hints };
}

let sliceNumber = 0;

/** A slice of the Service `shop/NAME`; the family is that of the first endpoint. */
export function sliceOf(
  service: string,
  endpoints: readonly string[],
  ports: readonly JsonObject[] = [{ name: '', port: 8080 }],
): SourcedObject {
  const addressType = endpoints[0]?.split(' ')[0]?.includes(':') ? 'IPv6' : 'IPv4';
  sliceNumber++;
  return object('discovery.k8s.io/v1', 'EndpointSlice', `${service}-${sliceNumber}`, null, {
    labels: { 'kubernetes.io/service-name': service },
    ...{ addressType, endpoints: endpoints.map(endpointOf), ports },
  });
}

export function serviceOf(name: string, spec: JsonObject, more: JsonObject = {}): SourcedObject {
  return object('v1', 'Service', name, { ports: [{ port: 80 }], ...spec }, more);
}

export function nodeOf(name: string, zone?: string): SourcedObject {
  const labels = zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone };
  return object('v1', 'Node', name, {}, { labels });
}

export const EMPTY_INPUT: ServiceInput = {
  ...{ services: [], endpointSlices: [], nodes: [], hostPorts: [], dnsAddresses: [] },
  otherNodes: [],
  node: { name: 'n1', addresses: ['192.0.2.1', '2001:db8::1'] },
};

export function compiled(input: Partial<ServiceInput>): ServicePlan {
  return compileServices({ ...EMPTY_INPUT, ...input });
}

/** `in 10.96.1.1:80/TCP` (callers inside) and `out …` (outside) → backends, joined by blanks. */
export function shownPlan(plan: Pick<ServicePlan, 'frontends'>): Record<string, string> {
  return Object.fromEntries(
    plan.frontends.map(({ key, backends }) => {
      const text = addressText(key.address);
      const host =
        text === '0.0.0.0' ? 'node4' : text === '::' ? 'node6' : text.includes(':') ? `[${text}]` : text;
      const way = key.scope === SCOPE.INTERNAL ? 'in' : 'out';
      return [`${way} ${host}:${key.port}/${protocolName(key.protocol)}`, backends.join(' ')];
    }),
  );
}
