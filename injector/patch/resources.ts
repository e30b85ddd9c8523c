import { ANNOTATIONS } from '../../common/contracts.ts';
import type { JsonObject } from '../../common/json.ts';
import { cpuQuantity, memoryQuantity, type Quantity } from './quantity.ts';

interface ResourceRule {
  readonly request: string;
  readonly limit: string;
  readonly parse: (text: string) => Quantity | undefined;
  readonly example: string;
  readonly requestDefault: Quantity;
  /** Undefined: none, since a throttled sidecar throttles its app. */
  readonly limitDefault: Quantity | undefined;
  /** With less no sidecar starts: a unit was forgotten. */
  readonly limitMin: Quantity | undefined;
}

/** An idle sidecar keeps below 45 MB of private memory, a busy one below 90. */
const RULES: Readonly<Record<'cpu' | 'memory', ResourceRule>> = {
  cpu: {
    request: ANNOTATIONS.proxyCpuRequest,
    limit: ANNOTATIONS.proxyCpuLimit,
    parse: cpuQuantity,
    example: 'a CPU quantity such as 100m or 0.5',
    requestDefault: { text: '50m', size: 50 },
    limitDefault: undefined,
    limitMin: undefined,
  },
  memory: {
    request: ANNOTATIONS.proxyMemoryRequest,
    limit: ANNOTATIONS.proxyMemoryLimit,
    parse: memoryQuantity,
    example: 'a memory quantity such as 64Mi or 0.5Gi',
    requestDefault: { text: '64Mi', size: 64 * 2 ** 20 },
    limitDefault: { text: '256Mi', size: 256 * 2 ** 20 },
    limitMin: { text: '32Mi', size: 32 * 2 ** 20 },
  },
};

/** The sidecar's `resources`: annotations over defaults, a default giving way where it would contradict an annotation. */
export function sidecarResources(
  annotations: ReadonlyMap<string, string>,
  problem: (annotation: string, must: string) => void,
): JsonObject {
  const requests: Record<string, string> = {};
  const limits: Record<string, string> = {};
  for (const [name, rule] of Object.entries(RULES)) {
    const request = asked(annotations, rule.request, rule, problem);
    const limit = asked(annotations, rule.limit, rule, problem);
    if (request !== undefined && limit !== undefined && request.size > limit.size)
      problem(rule.request, `at most ${limit.text}, which is ${rule.limit}`);
    if (limit !== undefined && rule.limitMin !== undefined && limit.size < rule.limitMin.size)
      problem(rule.limit, `at least ${rule.limitMin.text}`);
    requests[name] = (request ?? smaller(rule.requestDefault, limit)).text;
    const bound = limit ?? (rule.limitDefault && larger(rule.limitDefault, request));
    if (bound !== undefined) limits[name] = bound.text;
  }
  return { requests, limits };
}

function asked(
  annotations: ReadonlyMap<string, string>,
  annotation: string,
  rule: ResourceRule,
  problem: (annotation: string, must: string) => void,
): Quantity | undefined {
  const text = annotations.get(annotation);
  if (text === undefined) return undefined;
  const quantity = rule.parse(text);
  if (quantity === undefined) problem(annotation, rule.example);
  return quantity;
}

function smaller(fallback: Quantity, other: Quantity | undefined): Quantity {
  return other !== undefined && other.size < fallback.size ? other : fallback;
}

function larger(fallback: Quantity, other: Quantity | undefined): Quantity {
  return other !== undefined && other.size > fallback.size ? other : fallback;
}
