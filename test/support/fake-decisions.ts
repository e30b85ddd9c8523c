import { statusOfReason } from '../../common/reasons.ts';
import type {
  Answer,
  AttemptOutcome,
  Forward,
  MirrorTarget,
  RedirectAnswer,
} from '../../model/decision-types.ts';
import { DEFAULT_REQUEST_POLICY } from '../../model/policy-types.ts';
import type { RouteRule } from '../../model/snapshot.ts';
import type { DecisionFunctions } from '../../proxy/route/decisions.ts';
import { destinationOf, type FakeConfig, type FakeService } from './fake-config.ts';

/** First endpoint first; the next untried one on a retry that the policy's words allow. */
export function fakeDecisions(config: FakeConfig): DecisionFunctions {
  const mirrorsOf = (names: readonly string[]): MirrorTarget[] =>
    names.map((name) => {
      const cluster = config.clusters.get(name);
      const endpoint = cluster?.endpoints[0];
      if (cluster === undefined || endpoint === undefined) throw new Error(`no mirror ${name}`);
      return { cluster, endpoint };
    });
  const decideFor = (key: string): Forward | Answer => {
    const service = config.services.get(key);
    const cluster = config.clusters.get(key);
    if (service === undefined || cluster === undefined) throw new Error(`unexpected destination ${key}`);
    const rule = service.rule === undefined ? undefined : ruleOf(service.rule);
    if (service.answer !== undefined) {
      return {
        kind: 'answer',
        status: statusOfReason(service.answer),
        failure: { code: service.answer, source: 'mesh', retrySafety: 'never', message: 'as the test says' },
        rule,
        cluster,
        delayMs: service.delayMs ?? 0,
      };
    }
    const endpoint = cluster.endpoints[0];
    if (endpoint === undefined) throw new Error(`no endpoint of ${key}`);
    const policy = {
      ...DEFAULT_REQUEST_POLICY,
      retry: { ...DEFAULT_REQUEST_POLICY.retry, ...service.retry },
      timeouts: { ...DEFAULT_REQUEST_POLICY.timeouts, ...service.timeouts },
    };
    const destination = destinationOf(service);
    return {
      kind: 'forward',
      destination,
      rule,
      match: rule?.matches[0],
      backend: rule?.backends[0],
      mirrors: mirrorsOf(service.mirrors ?? []),
      cluster,
      endpoint,
      policy,
      timeouts: policy.timeouts,
      delayMs: service.delayMs ?? 0,
    };
  };
  return {
    decide: (_snapshot, key) => redirectOf(config.services.get(key)) ?? decideFor(key),
    decideTcp: (_snapshot, key) => decideFor(key),
    afterAttempt: (decision, outcome, history, request) => {
      const next = decision.cluster.endpoints[history.attempts % decision.cluster.endpoints.length];
      const wanted = isRetried(decision, outcome, request.method);
      if (!wanted || next === undefined || history.responseStarted || !history.bodyReplayable) {
        return { kind: 'give-up', code: undefined };
      }
      if (history.attempts > decision.policy.retry.attempts) return { kind: 'give-up', code: undefined };
      return { kind: 'retry', delayMs: decision.policy.retry.backoffBaseMs, endpoint: next };
    },
  };
}

function redirectOf(service: FakeService | undefined): RedirectAnswer | undefined {
  if (service?.redirect === undefined) return undefined;
  return {
    kind: 'redirect',
    destination: destinationOf(service),
    rule: ruleOf(service.rule ?? {}),
    status: service.rule?.redirect?.status ?? 302,
    location: service.redirect,
    cluster: undefined,
    delayMs: service.delayMs ?? 0,
  };
}

function isRetried(decision: Forward, outcome: AttemptOutcome, method: string): boolean {
  const { retry } = decision.policy;
  const idempotent = retry.methods.includes(method);
  if (outcome.kind === 'response') {
    return outcome.appRefused || (idempotent && retry.codes.includes(outcome.status));
  }
  if (outcome.failure.retrySafety === 'never') return false;
  if (outcome.condition === 'timeout') return idempotent && retry.codes.includes(504);
  if (outcome.condition === 'breaker' || outcome.condition === 'other') return false;
  if (outcome.condition === 'reset' && !idempotent) return false;
  return retry.on.includes(outcome.condition);
}

function ruleOf(part: Partial<RouteRule>): RouteRule {
  return {
    id: 'HTTPRoute/shop/test#0',
    matches: [],
    requestHeaders: undefined,
    responseHeaders: undefined,
    redirect: undefined,
    rewrite: undefined,
    mirrors: [],
    backends: [],
    policy: DEFAULT_REQUEST_POLICY,
    createdAtMs: 0,
    object: 'shop/test',
    ruleIndex: 0,
    ...part,
  };
}
