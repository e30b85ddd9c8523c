import { isJsonObject } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { type FieldError, Fields, shown } from '../../model/read/fields.ts';
import { keyOf, namespaceOf, strayFields } from '../../model/read/meta.ts';
import { type Block, readBlock } from './block.ts';
import type { Direction, NamedPort, PortRange } from './plan.ts';
import { PORT_MAX } from './ports.ts';
import { readSelector, type Selector } from './selector.ts';

/** Pods of the cluster, or addresses. The same key selects the same peers. */
export type Peer =
  | {
      readonly kind: 'pods';
      readonly key: string;
      /** The one namespace, where there is no selector of namespaces. */
      readonly namespace: string | undefined;
      readonly namespaces: Selector;
      readonly pods: Selector;
    }
  | { readonly kind: 'block'; readonly key: string; readonly block: Block };

export type PortMatch = PortRange | NamedPort;

export interface Rule {
  /** `namespace/name` of its policy. */
  readonly policy: string;
  readonly direction: Direction;
  /** Its place in `spec.ingress` or `spec.egress`. */
  readonly index: number;
  readonly peers: readonly Peer[] | 'any';
  readonly ports: readonly PortMatch[] | 'any';
}

/** A NetworkPolicy (networking.k8s.io/v1), read. */
export interface Policy {
  /** `namespace/name`. */
  readonly name: string;
  readonly namespace: string;
  /** Policies with the same name and key say the same. */
  readonly key: string;
  readonly pods: Selector;
  readonly isolates: Readonly<Record<Direction, boolean>>;
  readonly rules: Readonly<Record<Direction, readonly Rule[]>>;
}

export interface ReadPolicy {
  readonly policy: Policy;
  /** Empty where every field could be used. */
  readonly errors: readonly FieldError[];
}

export const policyRulesMax = 1_024;
export const rulePeersMax = 4_096;
export const rulePortsMax = 1_024;

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
const EVERYTHING: Selector = { key: '', text: '', matches: () => true };
const PORT_NAME = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/;

/**
 * Reads a NetworkPolicy (Kubernetes API reference: NetworkPolicySpec). Never throws. What can't be used allows nothing:
 * a rule, peer or port with an error is left out; a policy whose selector has one isolates its whole namespace, and one
 * whose `policyTypes` or fields have one isolates in both directions.
 */
export function readPolicy(object: KubeObject): ReadPolicy {
  const errors: FieldError[] = [...strayFields(object)];
  const namespace = namespaceOf(object);
  const name = keyOf(object);
  if (object.spec === undefined || object.spec === null)
    errors.push({ path: ['spec'], message: 'is required' });
  const spec = new Fields(object.spec, ['spec'], errors);
  const pods = readSelector(spec, 'podSelector') ?? EVERYTHING;
  const ingress = readRules(spec, 'ingress', name, namespace);
  const egress = readRules(spec, 'egress', name, namespace);
  const types = spec.choices('policyTypes', ['Ingress', 'Egress'] as const) ?? [];
  const stated = spec.raw('policyTypes');
  spec.finish();
  const isolates = errors.some(isInDoubt)
    ? { ingress: true, egress: true }
    : isolation(
        types,
        Array.isArray(stated) && stated.length > 0,
        spec.list('egress', policyRulesMax).length,
      );
  const rules = { ingress: isolates.ingress ? ingress : [], egress: isolates.egress ? egress : [] };
  const key = JSON.stringify([pods.key, isolates, rules.ingress.map(ruleKey), rules.egress.map(ruleKey)]);
  return { policy: { name, namespace, key, pods, isolates, rules }, errors };
}

/** Whether an error leaves open in which directions the author meant to isolate: it isn't one inside a rule or selector. */
function isInDoubt({ path }: FieldError): boolean {
  return path.length <= 2 || path[1] === 'policyTypes';
}

/** Kubernetes API reference, `policyTypes`: without it Ingress always, Egress where there are rules for it. */
function isolation(
  types: readonly string[],
  stated: boolean,
  egressRules: number,
): Record<Direction, boolean> {
  if (!stated) return { ingress: true, egress: egressRules > 0 };
  return { ingress: types.includes('Ingress'), egress: types.includes('Egress') };
}

/** Says the same for rules that allow the same; peers and ports have an order in it, which costs a new set at most. */
function ruleKey(rule: Rule): string {
  const peers = rule.peers === 'any' ? 'any' : rule.peers.map(({ key }) => key);
  return JSON.stringify([peers, rule.ports]);
}

function readRules(spec: Fields, direction: Direction, policy: string, namespace: string): readonly Rule[] {
  const peersField = direction === 'ingress' ? 'from' : 'to';
  return items(spec, direction, policyRulesMax, (fields, index) => {
    const peers = anyOrSome(fields, peersField, rulePeersMax, (one) => readPeer(one, namespace));
    const ports = anyOrSome(fields, 'ports', rulePortsMax, readPort);
    return finished(fields, { policy, direction, index, peers, ports });
  });
}

/** Kubernetes API reference: a list that is absent or empty restricts nothing; one whose items are all unsound allows nothing. */
function anyOrSome<T>(
  fields: Fields,
  name: string,
  max: number,
  read: (one: Fields) => T | undefined,
): readonly T[] | 'any' {
  const raw = fields.raw(name);
  if (raw === undefined || (Array.isArray(raw) && raw.length === 0)) return 'any';
  return items(fields, name, max, read);
}

/** The items of a list that could be read. */
function items<T>(
  fields: Fields,
  name: string,
  max: number,
  read: (one: Fields, index: number) => T | undefined,
): readonly T[] {
  return fields.list(name, max).flatMap(({ value, path }, index) => {
    if (!isJsonObject(value)) {
      fields.error([name, index], 'must be an object');
      return [];
    }
    const found = read(new Fields(value, path, fields.errors), index);
    return found === undefined ? [] : [found];
  });
}

/** `value`, or nothing where the object has fields that nobody knows: they may have been meant to restrict it. */
function finished<T>(fields: Fields, value: T): T | undefined {
  const before = fields.errors.length;
  fields.finish();
  return fields.errors.length === before ? value : undefined;
}

function readPeer(fields: Fields, namespace: string): Peer | undefined {
  const before = fields.errors.length;
  const peer = fields.has('ipBlock') ? blockPeer(fields) : podPeer(fields, namespace);
  fields.finish();
  return fields.errors.length === before ? peer : undefined;
}

function blockPeer(fields: Fields): Peer | undefined {
  for (const other of ['podSelector', 'namespaceSelector'])
    if (fields.has(other)) fields.error([other], 'must not stand beside ipBlock');
  const block = readBlock(fields.object('ipBlock'));
  return block && { kind: 'block', key: block.key, block };
}

function podPeer(fields: Fields, own: string): Peer | undefined {
  if (!fields.has('podSelector') && !fields.has('namespaceSelector'))
    return fields.error([], 'must have a podSelector, a namespaceSelector or an ipBlock');
  const namespace = fields.has('namespaceSelector') ? undefined : own;
  const namespaces = readSelector(fields, 'namespaceSelector');
  const pods = readSelector(fields, 'podSelector');
  if (namespaces === undefined || pods === undefined) return undefined;
  const key = JSON.stringify(['pods', namespace ?? null, namespaces.key, pods.key]);
  return { kind: 'pods', key, namespace, namespaces, pods };
}

function readPort(fields: Fields): PortMatch | undefined {
  const before = fields.errors.length;
  const protocol = fields.choice('protocol', PROTOCOLS) ?? 'TCP';
  const raw = fields.raw('port');
  const named = typeof raw === 'string';
  const from = named ? undefined : fields.integer('port', 1, PORT_MAX);
  const endPort = fields.integer('endPort', 1, PORT_MAX);
  if (named && !PORT_NAME.test(raw))
    fields.error(['port'], `must be a number or a port's name, not ${shown(raw)}`);
  if (endPort !== undefined && from === undefined) fields.error(['endPort'], 'needs a port that is a number');
  if (endPort !== undefined && from !== undefined && endPort < from)
    fields.error(['endPort'], `must not be less than the port, ${from}`);
  fields.finish();
  if (fields.errors.length > before) return undefined;
  if (named) return { protocol, name: raw };
  return from === undefined ? { protocol, from: 0, to: PORT_MAX } : { protocol, from, to: endPort ?? from };
}
