import { namespacedName, type SourcedObject } from '../objects.ts';
import { EMPTY_PATCH, type PolicyPatch } from '../policies/patch.ts';
import { DEFAULT_RETRY } from '../policy-types.ts';
import { type FieldError, type FieldPath, Fields, shown } from '../read/fields.ts';
import { createdAtMs, namespaceOf } from '../read/meta.ts';
import type { RouteMatch } from '../snapshot.ts';
import { EVERYTHING, type Filters, readFilters, readMatch } from './match.ts';

/** The limits of the Gateway API. */
const RULES_MAX = 16;
const MATCHES_MAX = 64;
const MATCHES_TOTAL_MAX = 128;
const BACKENDS_MAX = 16;
const PARENTS_MAX = 32;
const WEIGHT_MAX = 1_000_000;
const ATTEMPTS_MAX = 100;
const DAY_MS = 86_400_000;

export interface ParentRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: number | undefined;
  readonly path: FieldPath;
}

export interface BackendRef {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: number | undefined;
  readonly weight: number;
  readonly path: FieldPath;
}

export interface ParsedRule extends Filters {
  readonly name: string | undefined;
  readonly matches: readonly RouteMatch[];
  readonly backends: readonly BackendRef[];
  /** The rule's own `timeouts` and `retry`. */
  readonly patch: PolicyPatch;
}

export interface ParsedRoute {
  readonly sourced: SourcedObject;
  readonly key: string;
  readonly namespace: string;
  readonly createdAtMs: number;
  readonly parents: readonly ParentRef[];
  readonly rules: readonly ParsedRule[];
  readonly errors: readonly FieldError[];
  readonly hasHostnames: boolean;
}

/** Reads an HTTPRoute. Never throws: what is wrong or not supported is in `errors`, with the path of its field. */
export function parseHttpRoute(sourced: SourcedObject): ParsedRoute {
  const errors: FieldError[] = [];
  const namespace = namespaceOf(sourced.object);
  const spec = new Fields(sourced.object.spec, ['spec'], errors);
  const parents = spec.objects('parentRefs', PARENTS_MAX).map((entry) => readParent(entry, namespace));
  const hasHostnames = spec.list('hostnames', 16).length > 0;
  const rules = spec.objects('rules', RULES_MAX).map((rule) => readRule(rule, namespace));
  if (!spec.has('rules')) rules.push(readRule(new Fields({}, ['spec', 'rules', 0], errors), namespace));
  const names = rules.map((rule) => rule.name).filter((name) => name !== undefined);
  if (new Set(names).size < names.length) spec.error(['rules'], 'must have names that differ');
  const total = rules.reduce((sum, rule) => sum + rule.matches.length, 0);
  if (total > MATCHES_TOTAL_MAX)
    spec.error(['rules'], `must have at most ${MATCHES_TOTAL_MAX} matches in all`);
  spec.finish();
  return {
    sourced,
    key: namespacedName(sourced.object),
    namespace,
    createdAtMs: createdAtMs(sourced.object),
    parents,
    rules,
    errors,
    hasHostnames,
  };
}

function readParent(entry: Fields, namespace: string): ParentRef {
  const parent = {
    group: entry.string('group') ?? 'gateway.networking.k8s.io',
    kind: entry.string('kind') ?? 'Gateway',
    namespace: entry.string('namespace') || namespace,
    name: entry.required('name', 253) ?? '',
    port: entry.integer('port', 1, 65_535),
    path: entry.path,
  };
  if (entry.has('sectionName') && parent.kind === 'Service') {
    entry.error(['sectionName'], 'is not supported for a Service: name the port with port');
  }
  entry.finish();
  return parent;
}

function readRule(rule: Fields, namespace: string): ParsedRule {
  const name = rule.string('name', 253);
  const matches = rule.objects('matches', MATCHES_MAX).map(readMatch);
  const filters = readFilters(rule);
  const backends = rule.objects('backendRefs', BACKENDS_MAX).map((entry) => readBackend(entry, namespace));
  const patch = { ...EMPTY_PATCH, timeouts: readTimeouts(rule.object('timeouts')), retry: readRetry(rule) };
  if (rule.has('sessionPersistence')) rule.error(['sessionPersistence'], 'is not supported');
  rule.finish();
  return { name, matches: matches.length > 0 ? matches : [EVERYTHING], ...filters, backends, patch };
}

function readBackend(entry: Fields, namespace: string): BackendRef {
  const backend = {
    group: entry.string('group') ?? '',
    kind: entry.string('kind') ?? 'Service',
    namespace: entry.string('namespace') || namespace,
    name: entry.required('name', 253) ?? '',
    port: entry.integer('port', 1, 65_535),
    weight: entry.integer('weight', 0, WEIGHT_MAX) ?? 1,
    path: entry.path,
  };
  if (entry.list('filters', 16).length > 0) entry.error(['filters'], 'is not supported for one backend');
  entry.finish();
  return backend;
}

function readTimeouts(from: Fields): PolicyPatch['timeouts'] {
  const requestMs = from.durationMs('request');
  const backendRequestMs = from.durationMs('backendRequest');
  if (requestMs !== undefined && requestMs > 0 && (backendRequestMs ?? 0) > requestMs) {
    from.error(['backendRequest'], 'must not be longer than timeouts.request');
  }
  from.finish();
  return { requestMs, backendRequestMs };
}

/** A `retry` stanza asks for its codes and, as the Gateway API says of it, for broken connections, too. */
function readRetry(rule: Fields): PolicyPatch['retry'] {
  if (!rule.has('retry')) return { budget: {} };
  const from = rule.object('retry');
  const codes = from.has('codes')
    ? from.list('codes', 64).flatMap(({ value, path }) => {
        if (typeof value === 'number' && Number.isInteger(value) && value >= 400 && value <= 599)
          return [value];
        from.errors.push({ path, message: `must be a status from 400 to 599, not ${shown(value)}` });
        return [];
      })
    : undefined;
  const backoffBaseMs = from.durationMs('backoff', 1, DAY_MS);
  const attempts = from.integer('attempts', 0, ATTEMPTS_MAX);
  from.finish();
  const backoffMaxMs =
    backoffBaseMs === undefined ? undefined : Math.max(DEFAULT_RETRY.backoffMaxMs, backoffBaseMs * 10);
  return { codes, attempts, backoffBaseMs, backoffMaxMs, on: [...DEFAULT_RETRY.on, 'reset'], budget: {} };
}
