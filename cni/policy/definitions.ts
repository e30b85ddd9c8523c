import { portsAt } from './entries.ts';
import type { Direction, Identity, NamedPort, PortRange, SetRule } from './plan.ts';
import type { Policy, Rule } from './policy.ts';

/** What a set says, before peers are numbers: pods with the same key share it. */
export interface SetDefinition {
  readonly key: string;
  readonly direction: Direction;
  readonly isolatedBy: readonly string[];
  readonly rules: readonly SetRule[];
}

/**
 * The set of a pod in one direction, or undefined where nothing isolates it. A pod whose labels aren't known yet (`pod`
 * undefined) may be selected by every policy of its namespace, and is allowed nothing by any of them.
 */
export function definitionOf(
  policies: readonly Policy[],
  direction: Direction,
  pod: Identity | undefined,
  known: Map<string, SetDefinition>,
): SetDefinition | undefined {
  const isolating = policies.filter(
    (policy) => policy.isolates[direction] && (pod === undefined || policy.pods.matches(pod.labels)),
  );
  if (isolating.length === 0) return undefined;
  const key = keyOf(isolating, direction, pod);
  const existing = known.get(key);
  if (existing !== undefined) return existing;
  const rules = pod === undefined ? [] : isolating.flatMap((policy) => policy.rules[direction]);
  const definition: SetDefinition = {
    key,
    direction,
    isolatedBy: isolating.map((policy) => policy.name),
    rules: rules.map((rule) => setRule(rule, pod?.namedPorts ?? new Map())),
  };
  known.set(key, definition);
  return definition;
}

/** Names of ports are those of the pod itself for ingress, and so belong to what its set says. */
function keyOf(isolating: readonly Policy[], direction: Direction, pod: Identity | undefined): string {
  const names =
    direction === 'ingress' && isolating.some((policy) => policy.rules.ingress.some(hasNames))
      ? pod?.namedPortsKey
      : undefined;
  const parts = isolating.map((policy) => [policy.name, policy.key]);
  return JSON.stringify([direction, pod === undefined, names ?? '', parts]);
}

function hasNames(rule: Rule): boolean {
  return rule.ports !== 'any' && rule.ports.some((port) => 'name' in port);
}

function setRule(rule: Rule, ownNames: ReadonlyMap<string, number>): SetRule {
  if (rule.ports === 'any') return { rule, ports: 'any', namedPorts: [] };
  const ports: PortRange[] = [];
  const namedPorts: NamedPort[] = [];
  for (const port of rule.ports) {
    if ('name' in port) namedPorts.push(port);
    else ports.push(port);
  }
  const unresolved: SetRule = { rule, ports, namedPorts };
  if (rule.direction === 'egress') return unresolved;
  return { rule, ports: portsAt(unresolved, ownNames), namedPorts: [] };
}
