import { clusterName } from '../../common/names.ts';
import type { SourcedObject } from '../objects.ts';
import { type FieldError, Fields } from '../read/fields.ts';
import { namespaceOf, strayFields } from '../read/meta.ts';
import type { Services } from '../services.ts';
import type { AppProtocol } from '../snapshot.ts';
import { type Findings, lastGoodOf, type ResolvedReason } from '../status.ts';
import type { ServiceRef } from './backend-ref.ts';

/** What a reference leads to. */
export interface ResolvedRef {
  readonly cluster: string;
  /** Both are set where the reference can't be followed: why, in a word and for people. */
  readonly reason: ResolvedReason | undefined;
  readonly invalid: string | undefined;
}

/** Whether HTTPRoutes of `from` may refer to a Service elsewhere. */
export type Grants = (from: string, toNamespace: string, service: string) => boolean;

/** What a reference is judged by. */
export interface BackendContext {
  readonly services: Services;
  readonly grants: Grants;
  /** Of a Service port, pods' own wishes included. */
  protocolOf(service: string, port: number): AppProtocol | undefined;
}

/** Protocols that HTTP/1 requests can't be turned into. */
const OTHER_WIRES: readonly AppProtocol[] = ['http2', 'grpc', 'tls'];
const GRANT_ENTRIES_MAX = 16;

interface ReadGrant {
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly errors: readonly FieldError[];
}

/** ReferenceGrants (gateway.networking.k8s.io/v1beta1 and v1) from HTTPRoutes to Services. */
export function readGrants(grants: readonly SourcedObject[], findings: Findings): Grants {
  const allowed = new Set<string>();
  for (const sourced of grants) {
    const { errors, ...read } = readGrant(sourced);
    findings.errors(sourced, errors);
    const lastGood = errors.length === 0 ? undefined : lastGoodOf(sourced);
    if (errors.length > 0 && lastGood === undefined) continue;
    const { from, to } = lastGood === undefined ? read : readGrant(lastGood);
    const target = namespaceOf(sourced.object);
    for (const namespace of from) {
      for (const name of to) allowed.add(`${namespace} ${target} ${name}`);
    }
  }
  return (from, to, service) => allowed.has(`${from} ${to} ${service}`) || allowed.has(`${from} ${to} *`);
}

/** Never throws: what is wrong is in `errors`. */
export function readGrant({ object }: SourcedObject): ReadGrant {
  const errors: FieldError[] = [...strayFields(object)];
  const spec = new Fields(object.spec, ['spec'], errors);
  const from = spec.objects('from', GRANT_ENTRIES_MAX).map(readFrom);
  const to = spec.objects('to', GRANT_ENTRIES_MAX).map(readTo);
  if (from.length === 0) spec.error(['from'], 'is required');
  if (to.length === 0) spec.error(['to'], 'is required');
  spec.finish();
  const isKnown = (one: string | undefined) => one !== undefined;
  return { from: from.filter(isKnown), to: to.filter(isKnown), errors };
}

/** The namespace whose HTTPRoutes are let in; undefined for grants to other kinds, which aren't the mesh's. */
function readFrom(entry: Fields): string | undefined {
  const group = entry.string('group');
  const kind = entry.required('kind');
  const namespace = entry.required('namespace', 253);
  if (group === undefined) entry.error(['group'], 'is required');
  entry.finish();
  return group === 'gateway.networking.k8s.io' && kind === 'HTTPRoute' ? namespace : undefined;
}

/** The name of a Service, `*` for all of them; undefined for other kinds. */
function readTo(entry: Fields): string | undefined {
  const group = entry.string('group');
  const kind = entry.required('kind');
  const name = entry.string('name', 253) || '*';
  if (group === undefined) entry.error(['group'], 'is required, "" for a Service');
  entry.finish();
  return group === '' && kind === 'Service' ? name : undefined;
}

/**
 * The cluster behind a reference of a rule, or why it leads nowhere. A Service of the parent's
 * namespace needs no grant: clients that reach the parent reach it, too (GEP-1294, "Namespace boundaries").
 */
export function resolveRef(
  ref: ServiceRef,
  routeNamespace: string,
  parentNamespace: string,
  context: BackendContext,
): ResolvedRef {
  const cluster = clusterName(ref.namespace, ref.name, ref.port ?? 0);
  const invalid = (reason: ResolvedReason, why: string): ResolvedRef => ({ cluster, reason, invalid: why });
  const key = `${ref.namespace}/${ref.name}`;
  if (ref.group !== '' || ref.kind !== 'Service') {
    return invalid('InvalidKind', `backendRef ${ref.group}/${ref.kind} ${ref.name} is not a Service`);
  }
  const isNear = ref.namespace === routeNamespace || ref.namespace === parentNamespace;
  if (!isNear && !context.grants(routeNamespace, ref.namespace, ref.name)) {
    return invalid(
      'RefNotPermitted',
      `no ReferenceGrant in ${ref.namespace} allows Service ${key} to HTTPRoutes of ${routeNamespace}`,
    );
  }
  const service = context.services.get(key);
  if (service === undefined) return invalid('BackendNotFound', context.services.whyNot(key));
  if (!service.ports.some((one) => one.port === ref.port)) {
    return invalid('BackendNotFound', `Service ${key} has no TCP port ${ref.port ?? '(none given)'}`);
  }
  const protocol = context.protocolOf(key, ref.port ?? 0);
  if (protocol !== undefined && OTHER_WIRES.includes(protocol)) {
    return invalid(
      'UnsupportedProtocol',
      `port ${ref.port} of Service ${key} speaks ${protocol}, and requests go on as HTTP/1.1`,
    );
  }
  return { cluster, reason: undefined, invalid: undefined };
}
