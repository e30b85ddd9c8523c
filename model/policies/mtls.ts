import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import type { Workload } from '../mesh.ts';
import type { SourcedObject } from '../objects.ts';
import { type FieldError, Fields } from '../read/fields.ts';
import { namespaceOf, strayFields } from '../read/meta.ts';
import type { MtlsMode } from '../snapshot.ts';
import { accepted, errorText, type Findings, lastGoodOf } from '../status.ts';

interface MtlsPolicy {
  readonly mode: MtlsMode;
  readonly ports: ReadonlyMap<number, MtlsMode>;
}

interface SelectingPolicy extends MtlsPolicy {
  readonly labels: readonly (readonly [string, string])[];
}

export interface MtlsModes {
  /** Of one port; without a port, of those that nothing is said about. */
  mode(workload: Workload, port?: number): MtlsMode;
}

const MODES: readonly MtlsMode[] = ['STRICT', 'PERMISSIVE', 'DISABLE'];
const PORT_MODES_MAX = 64;

/**
 * MTLSPolicies, oldest first. For a pod the most specific says: one that selects it, then its namespace's, then the
 * mesh's (in heddle-system, no selector), then `fallback`; `portModes` come before `mode` at each step. Of two at one
 * step the oldest wins, and the other is `Conflicted` where it would never apply.
 */
export function readMtlsPolicies(
  policies: readonly SourcedObject[],
  fallback: MtlsMode,
  findings: Findings,
): MtlsModes {
  const selecting = new Map<string, SelectingPolicy[]>();
  const byNamespace = new Map<string, MtlsPolicy>();
  /** By scope: the policy that has it. */
  const taken = new Map<string, string>();
  for (const sourced of policies) {
    const namespace = namespaceOf(sourced.object);
    const { policy: written, errors } = readMtlsPolicy(sourced);
    const lastGood = errors.length > 0 ? lastGoodOf(sourced) : undefined;
    const policy = lastGood === undefined ? written : readMtlsPolicy(lastGood).policy;
    const scope = scopeOf(namespace, policy.labels);
    if (errors.length > 0) {
      findings.errors(sourced, errors);
      const message = errorText(sourced, errors);
      findings.status(sourced, [{ ref: scope, conditions: [accepted('UnsupportedValue', message)] }]);
      if (lastGood === undefined || taken.has(scope)) continue;
    }
    const older = taken.get(scope);
    if (older !== undefined) {
      const message = `the older MTLSPolicy ${older} applies to ${scope} already`;
      findings.problem(sourced, 'error', [], message);
      findings.status(sourced, [{ ref: scope, conditions: [accepted('Conflicted', message)] }]);
      continue;
    }
    taken.set(scope, sourced.object.metadata.name);
    if (policy.labels.length === 0) byNamespace.set(namespace, policy);
    else selecting.set(namespace, [...(selecting.get(namespace) ?? []), policy]);
    if (errors.length > 0) continue;
    findings.status(sourced, [{ ref: scope, conditions: [accepted('Accepted', `mode ${policy.mode}`)] }]);
  }
  return {
    mode(workload, port) {
      const steps = [
        selecting.get(workload.namespace)?.find((one) => selects(one, workload)),
        byNamespace.get(workload.namespace),
        byNamespace.get(SYSTEM_NAMESPACE),
      ];
      const policy = steps.find((one) => one !== undefined);
      if (policy === undefined) return fallback;
      return (port === undefined ? undefined : policy.ports.get(port)) ?? policy.mode;
    },
  };
}

export function readMtlsPolicy({ object }: SourcedObject): {
  readonly policy: SelectingPolicy;
  readonly errors: readonly FieldError[];
} {
  const errors: FieldError[] = [...strayFields(object)];
  return { policy: readPolicy(new Fields(object.spec, ['spec'], errors)), errors };
}

function readPolicy(spec: Fields): SelectingPolicy {
  const selector = spec.object('selector');
  const matchLabels = selector.object('matchLabels');
  const labels: [string, string][] = [];
  const raw = selector.raw('matchLabels');
  if (typeof raw === 'object' && raw !== null && !Array.isArray(raw)) {
    for (const key of Object.keys(raw)) {
      const value = matchLabels.string(key);
      if (value !== undefined) labels.push([key, value]);
      else if (!matchLabels.has(key)) matchLabels.error([key], 'must be a string');
    }
  }
  const ports = new Map<number, MtlsMode>();
  for (const entry of spec.objects('portModes', PORT_MODES_MAX)) {
    const port = entry.integer('port', 1, 65_535);
    const mode = entry.choice('mode', MODES);
    if (!entry.has('port')) entry.error(['port'], 'is required');
    if (!entry.has('mode')) entry.error(['mode'], 'is required');
    if (port !== undefined && ports.has(port)) entry.error(['port'], `${port} is listed twice`);
    if (port !== undefined && mode !== undefined) ports.set(port, mode);
    entry.finish();
  }
  const mode = spec.choice('mode', MODES) ?? 'STRICT';
  selector.finish();
  spec.finish();
  return { labels: labels.toSorted(([a], [b]) => (a < b ? -1 : 1)), mode, ports };
}

function scopeOf(namespace: string, labels: SelectingPolicy['labels']): string {
  if (labels.length > 0)
    return `Pods ${namespace} ${labels.map(([key, value]) => `${key}=${value}`).join(',')}`;
  return namespace === SYSTEM_NAMESPACE ? 'Mesh' : `Namespace ${namespace}`;
}

function selects(policy: SelectingPolicy, workload: Workload): boolean {
  return policy.labels.every(
    ([key, value]) => Object.hasOwn(workload.labels, key) && workload.labels[key] === value,
  );
}
