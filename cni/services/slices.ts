import type { AddressBytes } from '../../common/address.ts';
import type { Problem, SourcedObject } from '../../model/objects.ts';
import { type FieldError, Fields, shown } from '../../model/read/fields.ts';
import { namespaceOf, objectsOf, portOf, recordOf, stringMap, textOf } from '../../model/read/meta.ts';
import { Findings } from '../../model/status.ts';
import type { TransportName } from '../maps/constants.ts';
import { addressField } from './fields.ts';

/** Of an EndpointSlice (discovery.k8s.io/v1), as nodes see it. */
export interface SliceEndpoint {
  readonly address: AddressBytes;
  readonly text: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node: string | undefined;
  readonly zone: string | undefined;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface SlicePort {
  readonly name: string;
  readonly protocol: TransportName;
  readonly port: number;
}

export interface Slice {
  readonly family: 4 | 6;
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly SliceEndpoint[];
}

export interface ReadSlice {
  /** Undefined for slices of names (FQDN) and of address types that nobody knows. */
  readonly slice: Slice | undefined;
  readonly problems: readonly Problem[];
}

const NO_NAMES: readonly string[] = [];

/** EndpointSlices by the `namespace/name` of their Service; one without its label belongs to none. */
export function slicesByService(
  slices: readonly SourcedObject[],
): ReadonlyMap<string, readonly SourcedObject[]> {
  const found = new Map<string, SourcedObject[]>();
  for (const sourced of slices) {
    const service = stringMap(sourced.object.metadata.labels).get('kubernetes.io/service-name');
    if (service === undefined || service === '') continue;
    const key = `${namespaceOf(sourced.object)}/${service}`;
    const same = found.get(key);
    if (same === undefined) found.set(key, [sourced]);
    else same.push(sourced);
  }
  return found;
}

/** Reads a slice; what can't be used of it is reported and left out, the rest serves. */
export function readSlice(sourced: SourcedObject): ReadSlice {
  const { object } = sourced;
  const findings = new Findings();
  if (object.addressType === 'FQDN') return { slice: undefined, problems: [] };
  if (object.addressType !== 'IPv4' && object.addressType !== 'IPv6') {
    const message = `addressType must be IPv4, IPv6 or FQDN, not ${shown(object.addressType)}`;
    findings.problem(sourced, 'error', ['addressType'], message);
    return { slice: undefined, problems: findings.problems };
  }
  const family = object.addressType === 'IPv4' ? 4 : 6;
  const errors: FieldError[] = [];
  const ports = objectsOf(object.ports).flatMap((entry, index) => readPort(entry, index, errors));
  const endpoints = objectsOf(object.endpoints).flatMap((entry, index) =>
    readEndpoint(entry, index, family, errors),
  );
  findings.errors(sourced, errors);
  return { slice: { family, ports, endpoints }, problems: findings.problems };
}

function readPort(
  entry: Readonly<Record<string, unknown>>,
  index: number,
  errors: FieldError[],
): readonly SlicePort[] {
  const fields = new Fields(entry, ['ports', index], errors);
  const protocol = fields.choice('protocol', ['TCP', 'UDP', 'SCTP'] as const) ?? 'TCP';
  const port = portOf(entry.port);
  if (port === undefined) {
    const message = `must be a port, not ${shown(entry.port)}; a slice for every port can't be served`;
    fields.error(['port'], message);
    return [];
  }
  return [{ name: textOf(entry.name) ?? '', protocol, port }];
}

/** The first address stands for all of an endpoint: they are interchangeable, and clients may use the first alone. */
function readEndpoint(
  entry: Readonly<Record<string, unknown>>,
  index: number,
  family: 4 | 6,
  errors: FieldError[],
): readonly SliceEndpoint[] {
  const path = ['endpoints', index, 'addresses', 0];
  const text = Array.isArray(entry.addresses) ? entry.addresses[0] : undefined;
  const [found] = addressField({ value: text, path }, errors);
  if (found === undefined) return [];
  if (found.family !== family) {
    errors.push({ path, message: `must be an IPv${family} address, not ${shown(text)}` });
    return [];
  }
  const { ready, serving, terminating } = recordOf(entry.conditions);
  const hints = recordOf(entry.hints);
  return [
    {
      address: found.address,
      text: String(text),
      // Unknown counts as ready, and as serving where it is ready (EndpointConditions).
      ready: ready !== false,
      serving: serving === undefined || serving === null ? ready !== false : serving === true,
      terminating: terminating === true,
      node: textOf(entry.nodeName),
      zone: textOf(entry.zone),
      zoneHints: namesOf(hints.forZones),
      nodeHints: namesOf(hints.forNodes),
    },
  ];
}

function namesOf(hints: unknown): readonly string[] {
  if (hints === undefined) return NO_NAMES;
  return objectsOf(hints).flatMap(({ name }) => textOf(name) ?? []);
}
