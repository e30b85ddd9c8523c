import type { SourcedObject } from './objects.ts';
import { createdAtMs, keyOf, labelOf, objectsOf, recordOf } from './read/meta.ts';
import { compareText } from './route/order.ts';
import { accepted, type Findings, LAST_GOOD_STAYS, lastGoodOf } from './status.ts';

const GATEWAY_GROUP = 'gateway.networking.k8s.io';
const HEDDLE_GROUP = 'heddle.dev';

/** The versions that are read of the kinds the mesh has a say in. An object of another version is refused, not guessed at. */
const VERSIONS: ReadonlyMap<string, readonly string[]> = new Map([
  [`${GATEWAY_GROUP}/HTTPRoute`, ['v1', 'v1beta1']],
  [`${GATEWAY_GROUP}/ReferenceGrant`, ['v1', 'v1beta1']],
  [`${HEDDLE_GROUP}/TrafficPolicy`, ['v1alpha1']],
  [`${HEDDLE_GROUP}/MTLSPolicy`, ['v1alpha1']],
]);

/** Routes of a Gateway belong to its controller; only those of Services are the mesh's to refuse. */
const UNSUPPORTED_ROUTES: ReadonlyMap<string, string> = new Map([
  ['GRPCRoute', 'GRPCRoute is not supported yet: HTTP/2 between apps passes as opaque bytes'],
  ['TLSRoute', 'TLSRoute is not supported: TLS of the apps passes to the Service it was meant for'],
  ['TCPRoute', 'TCPRoute is not supported: TCP passes to the Service it was meant for'],
  ['UDPRoute', 'UDPRoute is not supported: the mesh does not carry UDP'],
]);

/** Objects by `group/kind`; of each kind oldest first, then by namespace and name. */
export type ByKind = ReadonlyMap<string, readonly SourcedObject[]>;

interface Sortable {
  readonly sourced: SourcedObject;
  readonly createdAtMs: number;
  readonly key: string;
}

/**
 * Sorts objects by kind, the same for every order they come in. A second object of one name is reported and left out, as
 * is what the mesh has a say in and doesn't support. In the place of such a one stands its last good version.
 */
export function groupByKind(objects: readonly SourcedObject[], findings: Findings): ByKind {
  const sorted = objects.map(sortableOf).sort(compareSortable);
  const byKind = new Map<string, SourcedObject[]>();
  const seen = new Set<string>();
  for (const { sourced, key } of sorted) {
    const kind = groupKind(sourced);
    const unique = `${kind} ${key}`;
    if (seen.has(unique)) {
      const message = `${labelOf(sourced.object)} is defined twice; this one is left out`;
      findings.problem(sourced, 'error', [], message);
      continue;
    }
    seen.add(unique);
    const refusal = refusalOf(sourced, kind);
    if (refusal !== undefined) refuse(sourced, refusal, findings);
    const inForce = refusal === undefined ? sourced : lastGoodOf(sourced);
    if (inForce === undefined) continue;
    const same = byKind.get(kind);
    if (same === undefined) byKind.set(kind, [inForce]);
    else same.push(inForce);
  }
  return byKind;
}

/** Objects never change, and most are the same in one mesh after the other. */
const sortables = new WeakMap<SourcedObject, Sortable>();

function sortableOf(sourced: SourcedObject): Sortable {
  const known = sortables.get(sourced);
  if (known !== undefined) return known;
  const made = { sourced, createdAtMs: createdAtMs(sourced.object), key: keyOf(sourced.object) };
  sortables.set(sourced, made);
  return made;
}

function compareSortable(a: Sortable, b: Sortable): number {
  return (
    a.createdAtMs - b.createdAtMs ||
    compareText(a.key, b.key) ||
    compareText(a.sourced.origin.source, b.sourced.origin.source) ||
    a.sourced.origin.line - b.sourced.origin.line ||
    compareText(JSON.stringify(a.sourced.object), JSON.stringify(b.sourced.object))
  );
}

function groupKind({ object }: SourcedObject): string {
  const slash = object.apiVersion.indexOf('/');
  return `${slash < 0 ? '' : object.apiVersion.slice(0, slash)}/${object.kind}`;
}

/** Whether an object is of a version that is read; those of kinds that the mesh has no say in are. */
export function isOfKnownVersion(sourced: SourcedObject): boolean {
  const { apiVersion } = sourced.object;
  const versions = VERSIONS.get(groupKind(sourced));
  return versions === undefined || versions.includes(apiVersion.slice(apiVersion.indexOf('/') + 1));
}

/** Why the mesh doesn't take an object of this kind, or undefined where it does, or has no say in it. */
function refusalOf(sourced: SourcedObject, groupAndKind: string): string | undefined {
  const { apiVersion, kind } = sourced.object;
  const group = groupAndKind.slice(0, groupAndKind.indexOf('/'));
  if (!isOfKnownVersion(sourced)) {
    const known = (VERSIONS.get(groupAndKind) ?? []).map((version) => `${group}/${version}`).join(' or ');
    return `${kind} of ${apiVersion} is not supported: write ${known}`;
  }
  if (VERSIONS.has(groupAndKind)) return undefined;
  if (group === GATEWAY_GROUP) return namesService(sourced) ? UNSUPPORTED_ROUTES.get(kind) : undefined;
  if (group !== HEDDLE_GROUP) return undefined;
  if (kind === 'AuthorizationPolicy') return 'AuthorizationPolicy is not enforced yet, so it is refused';
  return `there is no kind ${kind} in ${apiVersion}: the mesh has TrafficPolicy and MTLSPolicy`;
}

/** True unless every parent is a Gateway, which is what a parent without a kind is. */
function namesService({ object }: SourcedObject): boolean {
  const { parentRefs } = recordOf(object.spec);
  const parents = objectsOf(parentRefs);
  return parents.length === 0 || parents.some((parent) => (parent.kind ?? 'Gateway') !== 'Gateway');
}

function refuse(sourced: SourcedObject, why: string, findings: Findings): void {
  findings.problem(sourced, 'error', [], why);
  const message = sourced.lastGood === undefined ? why : `${why}; ${LAST_GOOD_STAYS}`;
  const ref = `${sourced.object.kind} ${keyOf(sourced.object)}`;
  findings.status(sourced, [{ ref, conditions: [accepted('Unsupported', message)] }]);
}
