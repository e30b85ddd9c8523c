import { type AddressBytes, isMapped } from '../../common/address.ts';
import type { Problem, SourcedObject } from '../../model/objects.ts';
import { type FieldError, type FieldPath, Fields } from '../../model/read/fields.ts';
import { keyOf, labelOf, namespaceOf, recordOf } from '../../model/read/meta.ts';
import { Findings, lastGoodOf } from '../../model/status.ts';
import type { TransportName } from '../maps/constants.ts';
import { addressField, prefixField } from './fields.ts';

const PORTS_MAX = 1_000;
const ADDRESSES_MAX = 100;
const AFFINITY_DEFAULT_S = 10_800;
const AFFINITY_MAX_S = 86_400;

export interface AddressAt {
  readonly address: AddressBytes;
  readonly family: 4 | 6;
  readonly path: FieldPath;
}

export interface PortSpec {
  readonly name: string;
  readonly port: number;
  readonly protocol: TransportName;
  /** 0: none. */
  readonly nodePort: number;
  readonly path: FieldPath;
}

/** What a node needs of a Service (core/v1) that has a cluster IP. */
export interface ServiceSpec {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly owner: string;
  readonly clusterIps: readonly AddressAt[];
  readonly loadBalancerIps: readonly AddressAt[];
  readonly externalIps: readonly AddressAt[];
  readonly ports: readonly PortSpec[];
  readonly externalLocal: boolean;
  readonly internalLocal: boolean;
  /** Seconds; 0: no affinity. */
  readonly affinityS: number;
  readonly publishNotReady: boolean;
  readonly preferred: 'zone' | 'node' | undefined;
  /** 0: nobody asks. */
  readonly healthCheckPort: number;
  /** Families whose load balancer addresses only some clients may use. */
  readonly restricted: ReadonlySet<4 | 6>;
  readonly restrictedPath: FieldPath;
}

export interface ReadService {
  /** Undefined where no frontend leads to it: headless, ExternalName, without an address, unusable, another proxy's. */
  readonly spec: ServiceSpec | undefined;
  readonly problems: readonly Problem[];
}

/**
 * Reads a Service. One with a field that can't be used counts as it was when it was last sound, and not at all where
 * nobody remembers that, as an API server would have refused it.
 */
export function readService(sourced: SourcedObject): ReadService {
  const findings = new Findings();
  const errors: FieldError[] = [];
  const spec = specOf(sourced, errors, findings);
  findings.errors(sourced, errors);
  if (errors.length === 0) return { spec, problems: findings.problems };
  const last = lastGoodOf(sourced);
  const fallback = last === undefined ? undefined : specOf(last, [], new Findings());
  return { spec: fallback, problems: findings.problems };
}

/**
 * Services that another proxy serves, and those whose address nothing is to lead to, say so by having the label, whatever its value:
 * kube-proxy's own informers select by the absence of both (cmd/kube-proxy/app/server.go).
 */
const NOT_SERVED_LABELS = ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless'];

function specOf(sourced: SourcedObject, errors: FieldError[], findings: Findings): ServiceSpec | undefined {
  const { object } = sourced;
  const labels = recordOf(object.metadata.labels);
  if (NOT_SERVED_LABELS.some((label) => Object.hasOwn(labels, label))) return undefined;
  const spec = new Fields(object.spec, ['spec'], errors);
  const type =
    spec.choice('type', ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const) ?? 'ClusterIP';
  if (type === 'ExternalName' || spec.raw('clusterIP') === 'None') return undefined;
  const clusterIps = readClusterIps(spec);
  if (clusterIps.length === 0 && errors.length === 0) {
    const message = 'the Service has no cluster IP yet, so that nothing leads to it';
    findings.problem(sourced, 'warning', ['spec', 'clusterIP'], message);
    return undefined;
  }
  const balanced = type === 'LoadBalancer';
  const externalIps = spec.texts('externalIPs', ADDRESSES_MAX).flatMap((item) => addressField(item, errors));
  const externalLocal = localPolicy(spec, 'externalTrafficPolicy');
  const reachable = type !== 'ClusterIP' || externalIps.length > 0;
  const healthCheckPort = spec.integer('healthCheckNodePort', 0, 65_535) ?? 0;
  return {
    key: keyOf(object),
    namespace: namespaceOf(object),
    name: object.metadata.name,
    owner: labelOf(object),
    clusterIps,
    externalIps,
    loadBalancerIps: balanced ? readIngress(object.status, errors) : [],
    ports: readPorts(spec, type !== 'ClusterIP'),
    externalLocal: reachable && externalLocal,
    internalLocal: localPolicy(spec, 'internalTrafficPolicy'),
    affinityS: readAffinity(spec),
    publishNotReady: spec.boolean('publishNotReadyAddresses') ?? false,
    preferred: readPreference(spec),
    healthCheckPort: balanced && externalLocal ? healthCheckPort : 0,
    restricted: readRestriction(spec, balanced),
    restrictedPath: ['spec', 'loadBalancerSourceRanges'],
  };
}

/** `clusterIPs` where it is given, the first of which is `clusterIP`. */
function readClusterIps(spec: Fields): readonly AddressAt[] {
  const one = spec.string('clusterIP', 64);
  const items = spec.has('clusterIPs')
    ? spec.texts('clusterIPs', 2)
    : one === undefined
      ? []
      : [{ value: one, path: ['spec', 'clusterIP'] }];
  const found = items.filter(({ value }) => value !== '').flatMap((item) => addressField(item, spec.errors));
  const [first, second] = found;
  if (first !== undefined && second !== undefined && first.family === second.family)
    spec.error(['clusterIPs'], 'must have one address of each family at most');
  return found;
}

function readPorts(spec: Fields, onNodes: boolean): readonly PortSpec[] {
  const seen = new Set<string>();
  if (!spec.has('ports')) spec.error(['ports'], 'is required');
  return spec.objects('ports', PORTS_MAX).flatMap((entry) => {
    const port = entry.integer('port', 1, 65_535);
    const protocol = entry.choice('protocol', ['TCP', 'UDP', 'SCTP'] as const) ?? 'TCP';
    const name = entry.string('name', 63) ?? '';
    const nodePort = entry.integer('nodePort', 0, 65_535) ?? 0;
    if (!entry.has('port')) entry.error(['port'], 'is required');
    if (port === undefined) return [];
    if (seen.has(`${port}/${protocol}`)) entry.error(['port'], `${port}/${protocol} is listed twice`);
    seen.add(`${port}/${protocol}`);
    return [{ name, port, protocol, nodePort: onNodes ? nodePort : 0, path: entry.path }];
  });
}

function localPolicy(spec: Fields, field: string): boolean {
  return spec.choice(field, ['Cluster', 'Local'] as const) === 'Local';
}

function readAffinity(spec: Fields): number {
  const affinity = spec.choice('sessionAffinity', ['None', 'ClientIP'] as const);
  const timeout = spec
    .object('sessionAffinityConfig')
    .object('clientIP')
    .integer('timeoutSeconds', 1, AFFINITY_MAX_S);
  return affinity === 'ClientIP' ? (timeout ?? AFFINITY_DEFAULT_S) : 0;
}

/** `PreferClose` is the older name of `PreferSameZone`. */
function readPreference(spec: Fields): ServiceSpec['preferred'] {
  const wish = spec.choice('trafficDistribution', [
    'PreferClose',
    'PreferSameZone',
    'PreferSameNode',
  ] as const);
  if (wish === undefined) return undefined;
  return wish === 'PreferSameNode' ? 'node' : 'zone';
}

/** Addresses of `status.loadBalancer`; a balancer of `ipMode: Proxy` opens connections of its own to the node ports. */
function readIngress(status: unknown, errors: FieldError[]): readonly AddressAt[] {
  const balancer = new Fields(status, ['status'], errors).object('loadBalancer');
  return balancer.objects('ingress', ADDRESSES_MAX).flatMap((entry) => {
    const ip = entry.string('ip', 64);
    const mode = entry.choice('ipMode', ['VIP', 'Proxy'] as const) ?? 'VIP';
    if (ip === undefined || ip === '' || mode === 'Proxy') return [];
    return addressField({ value: ip, path: [...entry.path, 'ip'] }, errors);
  });
}

/** Ranges that hold every address of their family restrict nobody. */
function readRestriction(spec: Fields, balanced: boolean): ReadonlySet<4 | 6> {
  const items = spec.texts('loadBalancerSourceRanges', ADDRESSES_MAX);
  const ranges = items.flatMap(({ value, path }) => prefixField({ value: value.trim(), path }, spec.errors));
  const restricted = new Set<4 | 6>();
  if (!balanced || items.length === 0) return restricted;
  for (const family of [4, 6] as const) {
    const whole = family === 4 ? 96 : 0;
    const open = ranges.some(({ address, bits }) => isMapped(address) === (family === 4) && bits === whole);
    if (!open) restricted.add(family);
  }
  return restricted;
}
