import type { ObjectStatus } from '../mesh.ts';
import type { AttachedPolicies } from '../policies/attach.ts';
import { patchRequest } from '../policies/patch.ts';
import { DEFAULT_REQUEST_POLICY } from '../policy-types.ts';
import type { ServiceInfo } from '../services.ts';
import type { RouteRule } from '../snapshot.ts';
import { accepted, errorText, type Findings, resolved } from '../status.ts';
import { type Grants, type ResolvedBackend, resolveBackend } from './backends.ts';
import type { ParentRef, ParsedRoute } from './http-route.ts';

export interface RouteContext {
  readonly services: ReadonlyMap<string, ServiceInfo>;
  readonly policies: AttachedPolicies;
  readonly grants: Grants;
  readonly findings: Findings;
}

/** The rules on each Service port: the producer's, and those of consumers by their namespace. */
export class AttachedRoutes {
  readonly #rules = new Map<string, RouteRule[]>();
  readonly #consumers = new Set<string>();

  add(service: string, port: number, consumer: string | undefined, rules: readonly RouteRule[]): void {
    const key = `${service}:${port}@${consumer ?? ''}`;
    if (consumer !== undefined) this.#consumers.add(consumer);
    this.#rules.set(key, [...(this.#rules.get(key) ?? []), ...rules]);
  }

  /** A consumer's own rules stand in the place of the producer's for its namespace, they aren't merged. */
  rulesFor(service: string, port: number, clientNamespace: string): readonly RouteRule[] {
    const own = this.#rules.get(`${service}:${port}@${clientNamespace}`);
    return own ?? this.#rules.get(`${service}:${port}@`) ?? [];
  }

  hasConsumer(namespace: string): boolean {
    return this.#consumers.has(namespace);
  }
}

/** Attaches one route to every parent that takes it, and says of each parent what became of it. */
export function attachRoute(route: ParsedRoute, context: RouteContext, attached: AttachedRoutes): void {
  const { findings } = context;
  const mine = route.parents.filter((parent) => parent.kind !== 'Gateway');
  for (const parent of route.parents) {
    if (parent.kind !== 'Gateway') continue;
    findings.problem(
      route.sourced,
      'warning',
      parent.path,
      `Gateway ${parent.name} is left to a gateway controller`,
    );
  }
  findings.errors(route.sourced, route.errors);
  if (mine.length === 0) {
    if (route.parents.length > 0 && route.errors.length === 0) return;
    const message =
      route.errors.length > 0 ? errorText(route.sourced, route.errors) : 'spec.parentRefs names no parent';
    const condition = accepted(route.errors.length > 0 ? 'UnsupportedValue' : 'NoMatchingParent', message);
    if (route.errors.length === 0) findings.problem(route.sourced, 'error', ['spec', 'parentRefs'], message);
    findings.status(route.sourced, [{ ref: `HTTPRoute ${route.key}`, conditions: [condition] }]);
    return;
  }
  if (route.hasHostnames) {
    const message = 'spec.hostnames has no effect on routes of a Service; match the header "host" instead';
    findings.problem(route.sourced, 'warning', ['spec', 'hostnames'], message);
  }
  const backends = route.rules.map((rule) =>
    rule.backends.map((ref) => resolveBackend(ref, route.namespace, context.services, context.grants)),
  );
  const refs = resolvedCondition(route, backends, findings);
  const parents = mine.map((parent): ObjectStatus['parents'][number] => {
    const condition = attachTo(parent, route, backends, context, attached);
    return { ref: refText(parent), conditions: [condition, refs] };
  });
  findings.status(route.sourced, parents);
}

function refText(parent: ParentRef): string {
  return `${parent.kind} ${parent.namespace}/${parent.name}${parent.port === undefined ? '' : `:${parent.port}`}`;
}

function resolvedCondition(
  route: ParsedRoute,
  backends: readonly (readonly ResolvedBackend[])[],
  findings: Findings,
): ReturnType<typeof resolved> {
  const broken = route.rules.flatMap((rule, ruleIndex) =>
    rule.backends.flatMap((ref, index) => {
      const { reason, backend } = backends[ruleIndex]?.[index] ?? {};
      return reason === undefined ? [] : [{ reason, message: backend?.invalid ?? '', path: ref.path }];
    }),
  );
  for (const { message, path } of broken) findings.problem(route.sourced, 'error', path, message);
  const [first] = broken;
  if (first === undefined) return resolved('ResolvedRefs', 'all backends were found');
  return resolved(first.reason, broken.map(({ message }) => message).join('; '));
}

function attachTo(
  parent: ParentRef,
  route: ParsedRoute,
  backends: readonly (readonly ResolvedBackend[])[],
  context: RouteContext,
  attached: AttachedRoutes,
): ReturnType<typeof accepted> {
  const refuse = (reason: 'NoMatchingParent' | 'UnsupportedValue', message: string) => {
    context.findings.problem(route.sourced, 'error', parent.path, message);
    return accepted(reason, message);
  };
  if (route.errors.length > 0) return accepted('UnsupportedValue', errorText(route.sourced, route.errors));
  if (parent.kind !== 'Service' || parent.group !== '') {
    return refuse(
      'UnsupportedValue',
      `parentRef ${parent.group}/${parent.kind} is not supported: a Service is`,
    );
  }
  const key = `${parent.namespace}/${parent.name}`;
  const service = context.services.get(key);
  if (service === undefined) return refuse('NoMatchingParent', `there is no Service ${key}`);
  if (service.headless) {
    return refuse('UnsupportedValue', `Service ${key} is headless: it has no address of its own to route`);
  }
  const ports = service.ports.filter(({ port }) => parent.port === undefined || port === parent.port);
  if (ports.length === 0) {
    return refuse('NoMatchingParent', `Service ${key} has no TCP port ${parent.port ?? 'at all'}`);
  }
  const opaque = ports.filter(({ protocol }) => protocol === 'tcp' || protocol === 'tls');
  if (opaque.length === ports.length) {
    return refuse(
      'UnsupportedValue',
      `port ${ports.map(({ port }) => port).join(', ')} of Service ${key} is not HTTP`,
    );
  }
  const consumer = route.namespace === parent.namespace ? undefined : route.namespace;
  const rules = makeRules(route, backends, key, context);
  for (const { port } of ports) attached.add(key, port, consumer, rules);
  const scope = consumer === undefined ? 'all clients' : `clients in namespace ${consumer}`;
  const note = route.hasHostnames ? '; spec.hostnames has no effect on routes of a Service' : '';
  return accepted('Accepted', `applies to ${scope}${note}`);
}

/** Policies from the general to the particular: Service, route, rule by name; the rule's own stanzas come last. */
function makeRules(
  route: ParsedRoute,
  backends: readonly (readonly ResolvedBackend[])[],
  service: string,
  context: RouteContext,
): readonly RouteRule[] {
  return route.rules.map((rule, index) => {
    const patches = [
      ...context.policies.service(service),
      ...context.policies.route(route.key),
      ...(rule.name === undefined ? [] : context.policies.rule(route.key, rule.name)),
      rule.patch,
    ];
    return {
      id: `HTTPRoute/${route.key}#${rule.name ?? index}`,
      matches: rule.matches,
      requestHeaders: rule.requestHeaders,
      responseHeaders: rule.responseHeaders,
      backends: (backends[index] ?? []).map(({ backend }) => backend),
      policy: patches.reduce(patchRequest, DEFAULT_REQUEST_POLICY),
      createdAtMs: route.createdAtMs,
      object: route.key,
      ruleIndex: index,
    };
  });
}
