import type { Problem, SourcedObject } from '../../model/objects.ts';
import { IDENTITY } from '../maps/constants.ts';
import { definitionOf, type SetDefinition } from './definitions.ts';
import { entriesOf } from './entries.ts';
import { type Identities, identitiesOf } from './identities.ts';
import { policiesInForce } from './in-force.ts';
import { DEFAULT_LIMITS, fitting, type Limits, tooLarge } from './limits.ts';
import { blocksOf, namedPrefixes, prefixCount } from './named.ts';
import { NO_NUMBERS, Numbering } from './numbers.ts';
import {
  type Identity,
  type LocalPodPlan,
  NOT_ISOLATED,
  type PolicyNumbers,
  type PolicyPlan,
  type PolicySet,
  type RememberedSet,
} from './plan.ts';
import { canonical, type LocalPodRef, namespaceLabels, readPods } from './pods.ts';
import type { Policy } from './policy.ts';
import { changeOf, type IdentityChange, selectedBy } from './select.ts';
import { classesOf, EMPTY_TABLE, sameTable, type Table, tableOf } from './table.ts';
import { transitionOf } from './transition.ts';

export interface PolicyInput {
  readonly namespaces: readonly SourcedObject[];
  readonly pods: readonly SourcedObject[];
  /** networking.k8s.io/v1 NetworkPolicies. */
  readonly policies: readonly SourcedObject[];
  readonly node: {
    readonly name: string;
    /** The pods this node has added to its network; only theirs are policies enforced for here. */
    readonly localPods: readonly LocalPodRef[];
  };
  /** Numbers stay what they were, and what didn't change isn't worked out again. */
  readonly previous?: PolicyPlan | undefined;
  /** Of an earlier run of the agent, where there is no previous plan: the maps still hold entries by these numbers. */
  readonly numbers?: PolicyNumbers | undefined;
  readonly limits?: Limits;
}

interface Numberings {
  readonly identities: Numbering;
  readonly sets: Numbering;
  readonly classes: Numbering;
}

interface Worked {
  readonly remembered: ReadonlyMap<string, RememberedSet>;
  readonly selected: ReadonlyMap<string, readonly Identity[]>;
  readonly problems: readonly Problem[];
}

/**
 * NetworkPolicies as a node enforces them. Pure; the same input gives a plan that means the same, whatever was before it.
 * What can't be used of a policy is a problem and never widens what is allowed (`in-force.ts`).
 *
 * Numbers never change their meaning: an identity stands for labels, a set for the policies it was made of, a class for a prefix.
 * So every entry stays true for as long as it stands, and a pod is switched from one set to another at once.
 */
export function compilePolicy(input: PolicyInput): PolicyPlan {
  const { previous, node, limits = DEFAULT_LIMITS } = input;
  const numbers = numberings(previous?.numbers ?? input.numbers ?? NO_NUMBERS);
  const force = policiesInForce(input.policies, previous?.memory.sound ?? new Map());
  const pods = readPods(input.pods, node.localPods);
  const identities = identitiesOf(
    pods,
    namespaceLabels(input.namespaces),
    previous?.memory.identities ?? new Map(),
    numbers.identities,
  );
  const { locals, definitions } = defineSets(node.localPods, force.policies, identities, numbers.sets);
  const kept = fitting(definitions, prefixCount, limits.cidrPrefixesMax);
  const named = namedPrefixes([...kept], pods, (pod) => identities.byPod.get(pod));
  const table = tableOrBefore(tableOf(named, numbers.classes), previous?.memory.table);
  const change = changeOf(previous?.memory.identities ?? new Map(), identities.byKey);
  const worked = workOut(definitions, kept, { table, change, numbers: numbers.sets, previous, limits });
  const sets = new Map([...worked.remembered.values()].map(({ set }) => [set.number, set]));
  return {
    identities: new Map(change.all.map((identity) => [identity.number, identity])),
    addresses: new Map(
      pods.flatMap((pod) =>
        pod.ips.map((ip) => [ip, identities.byPod.get(pod.key)?.number ?? IDENTITY.UNKNOWN]),
      ),
    ),
    dnsIdentity: identities.dns.number,
    localPods: locals,
    sets,
    cidrs: table.classes,
    transition: previous === undefined ? [] : transitionOf(previous, { sets, table, change }),
    policies: force.policies,
    problems: [...force.problems, ...worked.problems],
    numbers: inUse(numbers),
    memory: {
      selected: worked.selected,
      identities: identities.byKey,
      sets: worked.remembered,
      sound: force.sound,
      table,
    },
  };
}

interface Sets {
  readonly locals: ReadonlyMap<string, LocalPodPlan>;
  readonly definitions: readonly SetDefinition[];
}

function defineSets(
  refs: readonly LocalPodRef[],
  policies: ReadonlyMap<string, Policy>,
  identities: Identities,
  numbers: Numbering,
): Sets {
  const byNamespace = Map.groupBy(policies.values(), (policy) => policy.namespace);
  const known = new Map<string, SetDefinition>();
  const locals = new Map<string, LocalPodPlan>();
  for (const { namespace, name, ips } of refs) {
    const key = `${namespace}/${name}`;
    const identity = identities.byPod.get(key);
    const own = byNamespace.get(namespace) ?? [];
    const ingress = definitionOf(own, 'ingress', identity, known);
    const egress = definitionOf(own, 'egress', identity, known);
    locals.set(key, {
      namespace,
      name,
      ips: ips.map(canonical),
      identity: identity?.number ?? IDENTITY.UNKNOWN,
      ingressSet: ingress === undefined ? NOT_ISOLATED : numbers.of(ingress.key),
      egressSet: egress === undefined ? NOT_ISOLATED : numbers.of(egress.key),
    });
  }
  return { locals, definitions: [...known.values()] };
}

interface Ground {
  readonly table: Table;
  readonly change: IdentityChange;
  readonly numbers: Numbering;
  readonly previous: PolicyPlan | undefined;
  readonly limits: Limits;
}

function workOut(
  definitions: readonly SetDefinition[],
  kept: ReadonlySet<SetDefinition>,
  ground: Ground,
): Worked {
  const problems: Problem[] = [];
  const rules = [...kept].flatMap((definition) => definition.rules);
  const selected = selectedBy(rules, ground.previous?.memory.selected ?? new Map(), ground.change);
  const worked = definitions.map((definition) => {
    if (kept.has(definition)) return workOutOne(definition, selected, ground);
    problems.push(tooLarge(definition, `${prefixCount(definition)} prefixes`));
    return closed(definition, ground.numbers.of(definition.key));
  });
  const fit = fitting(worked, ({ set }) => set.entries.length, ground.limits.policyEntriesMax);
  const remembered = new Map<string, RememberedSet>();
  for (const one of worked) {
    const { set } = one;
    if (!fit.has(one)) problems.push(tooLarge(set, `${set.entries.length} entries`));
    remembered.set(set.key, fit.has(one) ? one : closed(set, set.number));
  }
  return { remembered, selected, problems };
}

function workOutOne(
  definition: SetDefinition,
  selected: ReadonlyMap<string, readonly Identity[]>,
  { table, change, numbers, previous }: Ground,
): RememberedSet {
  const inputs = inputsOf(definition, selected, table, change);
  const before = previous?.memory.sets.get(definition.key);
  if (before !== undefined && sameInputs(before.inputs, inputs)) return before;
  const number = numbers.of(definition.key);
  const entries = entriesOf(number, definition.rules, {
    anybody: true,
    identities: (peer) => selected.get(peer.key) ?? [],
    named: change.all,
    classes: (peer) => classesOf(table, peer.block),
  });
  return { set: { ...definition, number, entries }, inputs };
}

/** Peers, the table and all identities, as far as the set has to do with them. */
function inputsOf(
  { rules }: SetDefinition,
  selected: ReadonlyMap<string, readonly Identity[]>,
  table: Table,
  change: IdentityChange,
): readonly unknown[] {
  const inputs: unknown[] = blocksOf(rules).length > 0 ? [table] : [];
  for (const { rule, namedPorts } of rules) {
    if (rule.peers !== 'any') inputs.push(...rule.peers.map(({ key }) => selected.get(key)));
    else if (namedPorts.length > 0)
      inputs.push(change.added.length + change.removed.length === 0 ? 'unchanged' : change);
  }
  return inputs;
}

function sameInputs(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((one, at) => one === b[at]);
}

function closed(definition: SetDefinition, number: number): RememberedSet {
  const { key, direction, isolatedBy } = definition;
  const set: PolicySet = { key, direction, isolatedBy, number, rules: [], entries: [] };
  return { set, inputs: ['closed'] };
}

function tableOrBefore(table: Table, before: Table | undefined): Table {
  return sameTable(table, before ?? EMPTY_TABLE) ? (before ?? EMPTY_TABLE) : table;
}

function numberings({ identities, sets, classes, next }: PolicyNumbers): Numberings {
  return {
    identities: new Numbering(identities, next.identity, IDENTITY.FIRST_POD),
    sets: new Numbering(sets, next.set, 1),
    classes: new Numbering(classes, next.class, 1),
  };
}

function inUse({ identities, sets, classes }: Numberings): PolicyNumbers {
  return {
    identities: identities.inUse(),
    sets: sets.inUse(),
    classes: classes.inUse(),
    next: { identity: identities.next, set: sets.next, class: classes.next },
  };
}
