import type { ObjectStatus } from '../mesh.ts';
import { namespacedName, type SourcedObject } from '../objects.ts';
import { type FieldError, Fields } from '../read/fields.ts';
import { namespaceOf } from '../read/meta.ts';
import { accepted, errorText, type Findings } from '../status.ts';
import { type PolicyPatch, patchedFields } from './patch.ts';
import { readTrafficPatch } from './traffic.ts';

/** What policies may be attached to. */
export interface Targets {
  hasService(key: string): boolean;
  /** The names of the rules of an HTTPRoute, or undefined where there is none. */
  ruleNames(key: string): ReadonlySet<string> | undefined;
}

export interface AttachedPolicies {
  service(key: string): readonly PolicyPatch[];
  route(key: string): readonly PolicyPatch[];
  rule(routeKey: string, name: string): readonly PolicyPatch[];
}

interface TargetRef {
  readonly ref: string;
  readonly kind: string;
  readonly key: string;
  readonly sectionName: string | undefined;
}

const TARGETS_MAX = 16;
/** Blocks that belong to a backend, whichever route leads there: a route can't carry them. */
const SERVICE_BLOCKS = ['circuitBreaker', 'outlierEjection', 'limits', 'loadBalancer'];

/** TrafficPolicies, oldest first; of two that set the same field on the same target the older wins. */
export function readTrafficPolicies(
  policies: readonly SourcedObject[],
  targets: Targets,
  findings: Findings,
): AttachedPolicies {
  const attached = new Map<string, PolicyPatch[]>();
  const taken = new Map<string, string>();
  for (const sourced of policies) {
    const errors: FieldError[] = [];
    const spec = new Fields(sourced.object.spec, ['spec'], errors);
    const refs = readTargets(spec, namespaceOf(sourced.object));
    const patch = readTrafficPatch(spec);
    spec.finish();
    if (errors.length > 0) findings.errors(sourced, errors);
    const invalid = errors.length > 0 ? accepted('UnsupportedValue', errorText(sourced, errors)) : undefined;
    const parents = refs.map((target): ObjectStatus['parents'][number] => {
      const condition = invalid ?? attach(target, patch, sourced, targets, attached, taken);
      if (condition.status === 'False' && invalid === undefined) {
        findings.problem(sourced, 'error', ['spec', 'targetRefs'], condition.message);
      }
      return { ref: target.ref, conditions: [condition] };
    });
    const nowhere = `${sourced.object.kind} ${namespacedName(sourced.object)}`;
    const none = invalid ?? accepted('TargetNotFound', 'the policy names no target');
    findings.status(sourced, parents.length > 0 ? parents : [{ ref: nowhere, conditions: [none] }]);
  }
  const of = (id: string) => attached.get(id) ?? [];
  return {
    service: (key) => of(`Service ${key}`),
    route: (key) => of(`HTTPRoute ${key}`),
    rule: (key, name) => of(`HTTPRoute ${key}#${name}`),
  };
}

function attach(
  target: TargetRef,
  patch: PolicyPatch,
  sourced: SourcedObject,
  targets: Targets,
  attached: Map<string, PolicyPatch[]>,
  taken: Map<string, string>,
): ObjectStatus['parents'][number]['conditions'][number] {
  const { kind, key, ref, sectionName } = target;
  if (kind === 'GRPCRoute') return accepted('UnsupportedValue', 'GRPCRoute is not supported yet as a target');
  const fields = patchedFields(patch);
  if (kind === 'Service') {
    if (!targets.hasService(key)) return accepted('TargetNotFound', `there is no Service ${key}`);
  } else {
    const names = targets.ruleNames(key);
    if (names === undefined) return accepted('TargetNotFound', `there is no HTTPRoute ${key}`);
    if (sectionName !== undefined && !names.has(sectionName)) {
      return accepted('TargetNotFound', `HTTPRoute ${key} has no rule named ${sectionName}`);
    }
    const misplaced = fields.find((one) => isServiceField(one));
    if (misplaced !== undefined) {
      return accepted('UnsupportedValue', `spec.${misplaced} belongs to a backend: attach it to a Service`);
    }
  }
  const clash = fields.find((field) => taken.has(`${ref}|${field}`));
  if (clash !== undefined) {
    const winner = taken.get(`${ref}|${clash}`) ?? '';
    return accepted(
      'Conflicted',
      `TrafficPolicy ${winner} is older and sets spec.${clash} on ${ref} already`,
    );
  }
  for (const field of fields) taken.set(`${ref}|${field}`, namespacedName(sourced.object));
  attached.set(ref, [...(attached.get(ref) ?? []), patch]);
  return accepted('Accepted', `applies to ${ref}`);
}

function isServiceField(field: string): boolean {
  const block = field.split('.')[0] ?? '';
  return SERVICE_BLOCKS.includes(block) || field === 'timeouts.connectMs' || field === 'timeouts.idleMs';
}

function readTargets(spec: Fields, namespace: string): readonly TargetRef[] {
  if (!spec.has('targetRefs')) spec.error(['targetRefs'], 'is required');
  const refs: TargetRef[] = [];
  for (const entry of spec.objects('targetRefs', TARGETS_MAX)) {
    const kind = entry.required('kind');
    const name = entry.required('name', 253);
    const group = entry.string('group') ?? '';
    const sectionName = entry.string('sectionName', 253);
    if (entry.has('namespace') && entry.string('namespace') !== namespace) {
      entry.error(['namespace'], 'must be that of the policy');
    }
    entry.finish();
    if (kind === undefined || name === undefined) continue;
    const wantedGroup = kind === 'Service' ? '' : 'gateway.networking.k8s.io';
    if (!['Service', 'HTTPRoute', 'GRPCRoute'].includes(kind)) {
      entry.error(['kind'], 'must be Service, HTTPRoute or GRPCRoute');
    } else if (group !== wantedGroup) entry.error(['group'], `must be "${wantedGroup}" for ${kind}`);
    if (sectionName !== undefined && kind === 'Service') {
      entry.error(['sectionName'], 'is not supported for a Service: a policy holds for all its ports');
    }
    const key = `${namespace}/${name}`;
    const ref = `${kind} ${key}${sectionName === undefined ? '' : `#${sectionName}`}`;
    if (refs.some((one) => one.ref === ref)) entry.error([], `names ${ref} a second time`);
    else refs.push({ ref, kind, key, sectionName });
  }
  return refs;
}
