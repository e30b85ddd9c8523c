import type { ObjectStatus, StatusCondition } from '../mesh.ts';
import type { AttachedPolicies } from '../policies/attach.ts';
import { patchRequest } from '../policies/patch.ts';
import { DEFAULT_REQUEST_POLICY, type RequestPolicy } from '../policy-types.ts';
import type { FieldPath } from '../read/fields.ts';
import type { ServicePort } from '../services.ts';
import type { AppProtocol, Mirror, RouteRule, WeightedBackend } from '../snapshot.ts';
import { accepted, errorText, Findings, type ResolvedReason, refusal, resolved } from '../status.ts';
import type { AttachedRoutes } from './attached.ts';
import type { ServiceRef } from './backend-ref.ts';
import { type BackendContext, type ResolvedRef, resolveRef } from './backends.ts';
import type { ParsedRoute, ParsedRule } from './http-route.ts';
import { type ParentRef, parentText } from './parents.ts';

export interface RouteContext extends BackendContext {
  readonly policies: AttachedPolicies;
  readonly findings: Findings;
}

/** What the references of one rule lead to. */
interface RuleRefs {
  readonly backends: readonly WeightedBackend[];
  readonly mirrors: readonly Mirror[];
  readonly broken: readonly BrokenRef[];
}

interface BrokenRef {
  readonly reason: ResolvedReason;
  readonly message: string;
  readonly path: FieldPath;
}

/** Protocols whose requests a sidecar reads; of the others it passes on bytes. */
const ROUTED: readonly AppProtocol[] = ['http', 'auto'];

/**
 * Attaches one route to every parent that takes it, and says of each parent what became of it. In the place of one with
 * errors its last good version is attached, where there is one.
 */
export function attachRoute(route: ParsedRoute, context: RouteContext, attached: AttachedRoutes): void {
  const { findings } = context;
  const mine = route.parents.filter((parent) => parent.kind !== 'Gateway');
  for (const parent of route.parents) {
    if (parent.kind !== 'Gateway') continue;
    const message = `Gateway ${parent.name} is left to a gateway controller; a Service is meant by group: "" and kind: Service`;
    findings.problem(route.sourced, 'warning', parent.path, message);
  }
  // A route of Gateways only may hold what the mesh doesn't know; parents that can't be read are no Gateways.
  const readable = !route.errors.some(({ path }) => path[1] === 'parentRefs');
  if (mine.length === 0 && route.parents.length > 0 && readable) return;
  if (route.lastGood !== undefined) {
    attachRoute(route.lastGood, { ...context, findings: new Findings() }, attached);
  }
  findings.errors(route.sourced, route.errors);
  if (mine.length === 0) {
    const invalid = route.errors.length > 0;
    const message = invalid ? errorText(route.sourced, route.errors) : 'spec.parentRefs names no parent';
    const condition = accepted(invalid ? refusal(route.errors) : 'NoMatchingParent', message);
    if (!invalid) findings.problem(route.sourced, 'error', ['spec', 'parentRefs'], message);
    findings.status(route.sourced, [{ ref: `HTTPRoute ${route.key}`, conditions: [condition] }]);
    return;
  }
  warn(route, findings);
  const told = new Set<string>();
  const parents = mine.map((parent): ObjectStatus['parents'][number] => {
    const resolve = (ref: ServiceRef) => resolveRef(ref, route.namespace, parent.namespace, context);
    const refs = route.rules.map((rule) => followRefs(rule, resolve));
    const condition = attachTo(parent, route, refs, context, attached);
    return {
      ref: parentText(parent),
      conditions: [condition, resolvedCondition(route, refs, findings, told)],
    };
  });
  findings.status(route.sourced, parents);
}

/** What is legal and perhaps not meant. */
function warn(route: ParsedRoute, findings: Findings): void {
  if (route.errors.length > 0) return;
  if (route.hasHostnames) {
    const message = 'spec.hostnames has no effect on routes of a Service; match the header "host" instead';
    findings.problem(route.sourced, 'warning', ['spec', 'hostnames'], message);
  }
  for (const { path, backends, redirect, patch } of route.rules) {
    if (redirect !== undefined) {
      const hasTimeouts = Object.values(patch.timeouts).some((value) => value !== undefined);
      if (hasTimeouts || patch.retry.on !== undefined) {
        const message = 'timeouts and retry have no effect beside a RequestRedirect: no request goes on';
        findings.problem(route.sourced, 'warning', path, message);
      }
      continue;
    }
    if (backends.some(({ weight }) => weight > 0)) continue;
    const what = backends.length === 0 ? 'has no backendRefs' : 'has only backends of weight 0';
    const message = `the rule ${what}: requests that it matches are answered 500 (no-backend)`;
    findings.problem(route.sourced, 'warning', path, message);
  }
}

function followRefs(rule: ParsedRule, resolve: (ref: ServiceRef) => ResolvedRef): RuleRefs {
  const broken: BrokenRef[] = [];
  const follow = (ref: ServiceRef) => {
    const { cluster, reason, invalid } = resolve(ref);
    if (reason !== undefined) broken.push({ reason, message: invalid ?? '', path: ref.path });
    return { cluster, invalid };
  };
  return {
    backends: rule.backends.map((ref) => {
      const { weight, requestHeaders, responseHeaders } = ref;
      return { ...follow(ref), weight, requestHeaders, responseHeaders };
    }),
    mirrors: rule.mirrors.map(({ ref, numerator, denominator }) => ({
      ...follow(ref),
      numerator,
      denominator,
    })),
    broken,
  };
}

function resolvedCondition(
  route: ParsedRoute,
  refs: readonly RuleRefs[],
  findings: Findings,
  told: Set<string>,
): StatusCondition {
  const broken = refs.flatMap((rule) => rule.broken);
  for (const { message, path } of broken) {
    const text = `${path.join('.')} ${message}`;
    if (!told.has(text)) findings.problem(route.sourced, 'error', path, message);
    told.add(text);
  }
  const [first] = broken;
  if (first === undefined) return resolved('ResolvedRefs', 'all backends were found');
  return resolved(first.reason, [...new Set(broken.map(({ message }) => message))].join('; '));
}

function attachTo(
  parent: ParentRef,
  route: ParsedRoute,
  refs: readonly RuleRefs[],
  context: RouteContext,
  attached: AttachedRoutes,
): StatusCondition {
  const refuse = (reason: 'NoMatchingParent' | 'UnsupportedValue', message: string) => {
    context.findings.problem(route.sourced, 'error', parent.path, message);
    return accepted(reason, message);
  };
  if (route.errors.length > 0) return accepted(refusal(route.errors), errorText(route.sourced, route.errors));
  if (parent.kind !== 'Service' || parent.group !== '') {
    const hint = parent.kind === 'Service' ? 'a Service has group: ""' : 'only Services are';
    return refuse('UnsupportedValue', `parentRef ${parent.group}/${parent.kind} is not supported: ${hint}`);
  }
  const key = `${parent.namespace}/${parent.name}`;
  const service = context.services.get(key);
  if (service === undefined) return refuse('NoMatchingParent', context.services.whyNot(key));
  if (service.headless) {
    return refuse('UnsupportedValue', `Service ${key} is headless: it has no address of its own to route`);
  }
  const ports = service.ports.filter((port) => isMeant(port, parent));
  if (ports.length === 0)
    return refuse('NoMatchingParent', `Service ${key} has no TCP port ${meant(parent)}`);
  const protocol = (port: ServicePort) => context.protocolOf(key, port.port) ?? port.protocol;
  const routed = ports.filter((port) => ROUTED.includes(protocol(port)));
  const bytes = ports
    .filter((port) => !routed.includes(port))
    .map((port) => `${port.port} (${protocol(port)})`)
    .join(', ');
  if (routed.length === 0) {
    return refuse(
      'UnsupportedValue',
      `sidecars pass on the bytes of port ${bytes} of Service ${key}: only HTTP/1 can be routed`,
    );
  }
  const consumer = route.namespace === parent.namespace ? undefined : route.namespace;
  const rules = makeRules(route, refs, key, context.policies);
  for (const { port } of routed) attached.add(key, port, consumer, rules);
  const scope = consumer === undefined ? 'all clients' : `clients in namespace ${consumer}`;
  const note = route.hasHostnames ? '; spec.hostnames has no effect on routes of a Service' : '';
  const but = bytes === '' ? '' : `; not to port ${bytes}, whose bytes are passed on`;
  return accepted('Accepted', `applies to ${scope}${but}${note}`);
}

function isMeant(port: ServicePort, { port: number, sectionName }: ParentRef): boolean {
  return (
    (number === undefined || port.port === number) && (sectionName === undefined || port.name === sectionName)
  );
}

function meant({ port, sectionName }: ParentRef): string {
  if (sectionName === undefined) return String(port ?? 'at all');
  return port === undefined ? `named ${sectionName}` : `${port} named ${sectionName}`;
}

/**
 * Policies from the general to the particular: Service, route, rule by name; the rule's own stanzas come last. How long
 * connecting may take is the backend's to say (0), unless somebody says it of the route.
 */
function makeRules(
  route: ParsedRoute,
  refs: readonly RuleRefs[],
  service: string,
  policies: AttachedPolicies,
): readonly RouteRule[] {
  const names = new Set(route.rules.map(({ name }) => name));
  const ofService = policies.service(service).reduce(patchRequest, DEFAULT_REQUEST_POLICY);
  const base = { ...ofService, timeouts: { ...ofService.timeouts, connectMs: 0 } };
  return route.rules.map((rule, index) => {
    const patches = [
      ...policies.route(route.key),
      ...(rule.name === undefined ? [] : policies.rule(route.key, rule.name)),
    ];
    return {
      id: `HTTPRoute/${route.key}#${ruleName(rule, index, names)}`,
      matches: rule.matches,
      requestHeaders: rule.requestHeaders,
      responseHeaders: rule.responseHeaders,
      redirect: rule.redirect,
      rewrite: rule.rewrite,
      mirrors: refs[index]?.mirrors ?? [],
      backends: refs[index]?.backends ?? [],
      policy: withOwnWords(patches.reduce(patchRequest, base), rule),
      createdAtMs: route.createdAtMs,
      object: route.key,
      ruleIndex: index,
    };
  });
}

/** Its name, or its place; a place that is another rule's name is told apart from it. */
function ruleName({ name }: ParsedRule, index: number, names: ReadonlySet<string | undefined>): string {
  if (name !== undefined) return name;
  return names.has(String(index)) ? `rules[${index}]` : String(index);
}

/** A `retry` stanza adds conditions to those of the policies: it has no word to take one away. */
function withOwnWords(policy: RequestPolicy, { patch }: ParsedRule): RequestPolicy {
  const { on } = patch.retry;
  const both = on === undefined ? undefined : [...new Set([...policy.retry.on, ...on])];
  return patchRequest(policy, { ...patch, retry: { ...patch.retry, on: both } });
}
