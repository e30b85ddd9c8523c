import type { SourcedObject } from '../objects.ts';
import { EMPTY_PATCH, type PolicyPatch } from '../policies/patch.ts';
import { DEFAULT_RETRY } from '../policy-types.ts';
import { type FieldError, type FieldPath, Fields, shown } from '../read/fields.ts';
import { createdAtMs, keyOf, namespaceOf, strayFields } from '../read/meta.ts';
import { editedNames } from '../route/edit-layers.ts';
import type { RouteMatch } from '../snapshot.ts';
import { lastGoodOf } from '../status.ts';
import { type BackendRef, readServiceRef } from './backend-ref.ts';
import { type Filters, readBackendFilters, readFilters } from './filters.ts';
import { EVERYTHING, readMatch } from './match.ts';
import { type ParentRef, readParents } from './parents.ts';

/** The limits of the Gateway API. */
const RULES_MAX = 16;
const MATCHES_MAX = 64;
const MATCHES_TOTAL_MAX = 128;
const BACKENDS_MAX = 16;
const HOSTNAMES_MAX = 16;
const WEIGHT_MAX = 1_000_000;
const ATTEMPTS_MAX = 100;
const DAY_MS = 86_400_000;
/** Gateway API, SectionName. */
const RULE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const RULE_NAME_CHARS_MAX = 253;

export interface ParsedRule extends Filters {
  readonly name: string | undefined;
  readonly path: FieldPath;
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
  /** Where there are errors: what is in force instead. */
  readonly lastGood: ParsedRoute | undefined;
}

/** Reads an HTTPRoute. Never throws: what is wrong or not supported is in `errors`, with the path of its field. */
export function parseHttpRoute(sourced: SourcedObject): ParsedRoute {
  const errors: FieldError[] = [...strayFields(sourced.object)];
  const namespace = namespaceOf(sourced.object);
  const spec = new Fields(sourced.object.spec, ['spec'], errors);
  const parents = readParents(spec, namespace);
  const hostnames = spec.texts('hostnames', HOSTNAMES_MAX);
  if (spec.choice('useDefaultGateways', ['All', 'None']) === 'All') {
    spec.error(['useDefaultGateways'], 'All is not supported: the mesh has no Gateways');
  }
  const rules = spec.objects('rules', RULES_MAX).map((rule) => readRule(rule, namespace));
  if (!spec.has('rules')) rules.push(readRule(new Fields({}, ['spec', 'rules', 0], errors), namespace));
  else if (rules.length === 0) spec.error(['rules'], 'must have at least one rule, or be left out');
  checkTogether(rules, spec);
  spec.finish();
  const lastGood = errors.length === 0 ? undefined : lastGoodOf(sourced);
  return {
    sourced,
    key: keyOf(sourced.object),
    namespace,
    createdAtMs: createdAtMs(sourced.object),
    parents,
    rules,
    errors,
    hasHostnames: hostnames.length > 0,
    lastGood: lastGood === undefined ? undefined : parseHttpRoute(lastGood),
  };
}

function checkTogether(rules: readonly ParsedRule[], spec: Fields): void {
  const names = new Set<string>();
  for (const { name, path } of rules) {
    if (name === undefined) continue;
    if (names.has(name)) {
      spec.errors.push({ path: [...path, 'name'], message: `${name} is the name of another rule` });
    }
    names.add(name);
  }
  const total = rules.reduce((sum, rule) => sum + rule.matches.length, 0);
  if (total > MATCHES_TOTAL_MAX) {
    spec.error(['rules'], `must have at most ${MATCHES_TOTAL_MAX} matches in all`);
  }
}

function readRule(rule: Fields, namespace: string): ParsedRule {
  const name = rule.string('name', RULE_NAME_CHARS_MAX);
  if (name !== undefined && !RULE_NAME.test(name)) {
    rule.error(['name'], 'must be of a-z, 0-9, "-" and ".", and begin and end with a letter or digit');
  }
  const matches = rule.objects('matches', MATCHES_MAX).map(readMatch);
  const filters = readFilters(rule, namespace);
  const backends = rule.objects('backendRefs', BACKENDS_MAX).map((entry) => readBackend(entry, namespace));
  const patch = { ...EMPTY_PATCH, timeouts: readTimeouts(rule.object('timeouts')), retry: readRetry(rule) };
  if (rule.has('sessionPersistence')) {
    rule.error(['sessionPersistence'], 'is not supported: see loadBalancer of TrafficPolicy');
  }
  checkFilters(rule, filters, matches, backends);
  rule.finish();
  return {
    name,
    path: rule.path,
    matches: matches.length > 0 ? matches : [EVERYTHING],
    ...filters,
    backends,
    patch,
  };
}

/** What filters ask of the rest of their rule. */
function checkFilters(
  rule: Fields,
  filters: Filters,
  matches: readonly RouteMatch[],
  backends: readonly BackendRef[],
): void {
  const { redirect, rewrite } = filters;
  if (redirect !== undefined && backends.length > 0) {
    const why = 'must be left out beside a RequestRedirect: no request goes on';
    rule.error(['backendRefs'], why, 'IncompatibleFilters');
  }
  const replacesPrefix = redirect?.path?.kind === 'prefix' || rewrite?.path?.kind === 'prefix';
  const [only = EVERYTHING, ...others] = matches;
  if (replacesPrefix && (others.length > 0 || only.path.kind !== 'prefix')) {
    rule.error(['matches'], 'must be exactly one, of type PathPrefix, beside replacePrefixMatch');
  }
  if (rewrite?.hostname !== undefined && editedNames(filters.requestHeaders).includes('host')) {
    rule.error(['filters'], 'set Host twice: URLRewrite has a hostname, too', 'IncompatibleFilters');
  }
}

function readBackend(entry: Fields, namespace: string): BackendRef {
  const backend = {
    ...readServiceRef(entry, namespace),
    weight: entry.integer('weight', 0, WEIGHT_MAX) ?? 1,
    ...readBackendFilters(entry),
  };
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
  return { codes, attempts, backoffBaseMs, on: [...DEFAULT_RETRY.on, 'reset'], budget: {} };
}
