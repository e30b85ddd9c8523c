import type { ObjectStatus, StatusCondition } from '../mesh.ts';
import type { SourcedObject } from '../objects.ts';
import { DEFAULT_RETRY } from '../policy-types.ts';
import { type FieldError, Fields } from '../read/fields.ts';
import { keyOf, labelOf, namespaceOf, strayFields } from '../read/meta.ts';
import type { Services } from '../services.ts';
import type { AppProtocol } from '../snapshot.ts';
import { accepted, errorText, Findings, lastGoodOf } from '../status.ts';
import { type PolicyPatch, patchedFields } from './patch.ts';
import { readTrafficPatch } from './traffic.ts';

/** What policies may be attached to. */
export interface Targets {
  readonly services: Services;
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

interface Refusal {
  readonly condition: StatusCondition;
  /** The field under `spec` that is to blame. */
  readonly field: string;
}

const TARGETS_MAX = 16;
/** Blocks that belong to a backend, whichever route leads there: a route can't carry them. */
const SERVICE_BLOCKS = ['circuitBreaker', 'outlierEjection', 'limits', 'loadBalancer'];
/** What speaks of requests: bytes that are passed on have none. */
const HTTP_FIELDS =
  /^(timeouts\.(request|backendRequest)|retry\.(codes|grpcStatus|methods|bodyBuffer.*)|faults\..*)$/;
const HTTP: readonly AppProtocol[] = ['http', 'auto'];

/** TrafficPolicies, oldest first; of two that set the same field on the same target the older wins. */
export function readTrafficPolicies(
  policies: readonly SourcedObject[],
  targets: Targets,
  findings: Findings,
): AttachedPolicies {
  const attached = new Map<string, PolicyPatch[]>();
  const taken = new Map<string, string>();
  for (const sourced of policies) {
    const { refs, patch, errors } = readTrafficPolicy(sourced);
    findings.errors(sourced, errors);
    const lastGood = errors.length > 0 ? lastGoodOf(sourced) : undefined;
    if (lastGood !== undefined) {
      const good = readTrafficPolicy(lastGood);
      const quiet = { targets, attached, taken, findings: new Findings() };
      for (const target of good.refs) attach(target, good.patch, lastGood, quiet);
    }
    const invalid = errors.length > 0 ? accepted('UnsupportedValue', errorText(sourced, errors)) : undefined;
    const parents = refs.map((target): ObjectStatus['parents'][number] => ({
      ref: target.ref,
      conditions: [invalid ?? attach(target, patch, sourced, { targets, attached, taken, findings })],
    }));
    const none = invalid ?? accepted('TargetNotFound', 'the policy names no target');
    findings.status(
      sourced,
      parents.length > 0 ? parents : [{ ref: labelOf(sourced.object), conditions: [none] }],
    );
  }
  const of = (id: string) => attached.get(id) ?? [];
  return {
    service: (key) => of(`Service ${key}`),
    route: (key) => of(`HTTPRoute ${key}`),
    rule: (key, name) => of(`HTTPRoute ${key}#${name}`),
  };
}

interface ReadPolicy {
  readonly refs: readonly TargetRef[];
  readonly patch: PolicyPatch;
  readonly errors: readonly FieldError[];
}

export function readTrafficPolicy(sourced: SourcedObject): ReadPolicy {
  const errors: FieldError[] = [...strayFields(sourced.object)];
  const spec = new Fields(sourced.object.spec, ['spec'], errors);
  const refs = readTargets(spec, namespaceOf(sourced.object));
  const patch = readTrafficPatch(spec);
  checkBlocks(spec, refs, patch);
  spec.finish();
  return { refs, patch, errors };
}

function checkBlocks(spec: Fields, refs: readonly TargetRef[], patch: PolicyPatch): void {
  if (!refs.some(({ kind }) => kind === 'HTTPRoute')) return;
  const blocks = new Set(patchedFields(patch).map((field) => field.split('.')[0] ?? ''));
  for (const block of SERVICE_BLOCKS) {
    if (blocks.has(block)) spec.error([block], 'belongs to a backend: attach it to a Service');
  }
}

interface AttachContext {
  readonly targets: Targets;
  readonly attached: Map<string, PolicyPatch[]>;
  readonly taken: Map<string, string>;
  readonly findings: Findings;
}

function attach(
  target: TargetRef,
  patch: PolicyPatch,
  sourced: SourcedObject,
  context: AttachContext,
): StatusCondition {
  const { ref } = target;
  const fields = patchedFields(patch);
  const refusal = refusalOf(target, context.targets) ?? clashOf(ref, fields, context.taken);
  if (refusal !== undefined) {
    const { condition, field } = refusal;
    context.findings.problem(sourced, 'error', ['spec', ...field.split('.')], condition.message);
    return condition;
  }
  for (const field of fields) context.taken.set(`${ref}|${field}`, keyOf(sourced.object));
  const same = context.attached.get(ref);
  if (same === undefined) context.attached.set(ref, [patch]);
  else same.push(patch);
  const notes = [idleOnBytes(target, fields, context), idleForGrpc(fields, patch)].filter(
    (note) => note !== undefined,
  );
  for (const { field, message } of notes) {
    context.findings.problem(sourced, 'warning', ['spec', ...field.split('.')], message);
  }
  return accepted('Accepted', [`applies to ${ref}`, ...notes.map(({ message }) => message)].join('; '));
}

function refusalOf(target: TargetRef, targets: Targets): Refusal | undefined {
  const { kind, key, sectionName } = target;
  const refuse = (reason: 'TargetNotFound' | 'UnsupportedValue', message: string) => ({
    condition: accepted(reason, message),
    field: 'targetRefs',
  });
  if (kind === 'GRPCRoute') return refuse('UnsupportedValue', 'GRPCRoute is not supported yet as a target');
  if (kind === 'Service') {
    const { services } = targets;
    return services.get(key) === undefined ? refuse('TargetNotFound', services.whyNot(key)) : undefined;
  }
  const names = targets.ruleNames(key);
  if (names === undefined) return refuse('TargetNotFound', `there is no HTTPRoute ${key}`);
  if (sectionName !== undefined && !names.has(sectionName)) {
    return refuse('TargetNotFound', `HTTPRoute ${key} has no rule named ${sectionName}`);
  }
  return undefined;
}

function clashOf(
  ref: string,
  fields: readonly string[],
  taken: ReadonlyMap<string, string>,
): Refusal | undefined {
  for (const field of fields) {
    const winner = taken.get(`${ref}|${field}`);
    if (winner === undefined) continue;
    const message = `TrafficPolicy ${winner} is older and sets spec.${field} on ${ref} already`;
    return { condition: accepted('Conflicted', message), field };
  }
  return undefined;
}

/** A field that is accepted and has no effect, in words. */
interface Note {
  readonly field: string;
  readonly message: string;
}

function idleOnBytes(
  target: TargetRef,
  fields: readonly string[],
  { targets }: AttachContext,
): Note | undefined {
  const ports = target.kind === 'Service' ? (targets.services.get(target.key)?.ports ?? []) : [];
  if (ports.length === 0 || ports.some(({ protocol }) => HTTP.includes(protocol))) return undefined;
  const without = fields.filter((field) => HTTP_FIELDS.test(field));
  const [field] = without;
  if (field === undefined) return undefined;
  const names = without.map((one) => `spec.${one}`).join(', ');
  return { field, message: `no effect on ${target.ref}, whose bytes are passed on: ${names}` };
}

function idleForGrpc(fields: readonly string[], { retry }: PolicyPatch): Note | undefined {
  const field = 'retry.grpcStatus';
  if (!fields.includes(field) || (retry.grpcStatus ?? []).length === 0) return undefined;
  if ((retry.methods ?? DEFAULT_RETRY.methods).includes('POST')) return undefined;
  return { field, message: `spec.${field} needs POST in spec.retry.methods: all gRPC calls are POST` };
}

function readTargets(spec: Fields, namespace: string): readonly TargetRef[] {
  const entries = spec.objects('targetRefs', TARGETS_MAX);
  if (!spec.has('targetRefs')) spec.error(['targetRefs'], 'is required');
  else if (entries.length === 0 && Array.isArray(spec.raw('targetRefs'))) {
    spec.error(['targetRefs'], 'must name at least one target');
  }
  const refs: TargetRef[] = [];
  for (const entry of entries) {
    const target = readTarget(entry, namespace);
    if (target === undefined) continue;
    if (refs.some(({ ref }) => ref === target.ref)) entry.error([], `names ${target.ref} a second time`);
    else refs.push(target);
  }
  return refs;
}

function readTarget(entry: Fields, namespace: string): TargetRef | undefined {
  const kind = entry.required('kind');
  const name = entry.required('name', 253);
  const group = entry.string('group') ?? '';
  const sectionName = entry.string('sectionName', 253) || undefined;
  if (entry.has('namespace') && entry.string('namespace') !== namespace) {
    entry.error(['namespace'], 'must be that of the policy');
  }
  entry.finish();
  if (kind === undefined || name === undefined) return undefined;
  const wantedGroup = kind === 'Service' ? '' : 'gateway.networking.k8s.io';
  if (!['Service', 'HTTPRoute', 'GRPCRoute'].includes(kind)) {
    entry.error(['kind'], 'must be Service, HTTPRoute or GRPCRoute');
  } else if (group !== wantedGroup) entry.error(['group'], `must be "${wantedGroup}" for ${kind}`);
  if (sectionName !== undefined && kind === 'Service') {
    entry.error(['sectionName'], 'is not supported for a Service: a policy holds for all its ports');
  }
  const key = `${namespace}/${name}`;
  const ref = `${kind} ${key}${sectionName === undefined ? '' : `#${sectionName}`}`;
  return { ref, kind, key, sectionName };
}
