import type { AttemptOutcome } from '../../model/decision-types.ts';
import type { CircuitBreakerPolicy } from '../../model/policy-types.ts';
import type { BreakerVerdict } from './breaker.ts';

/** Failures of the destination itself. What the client or the mesh's own limits did says nothing about it. */
function destinationFailed(outcome: Extract<AttemptOutcome, { kind: 'failure' }>): boolean {
  return outcome.failure.source === 'upstream';
}

/** How an attempt counts for the breaker of its destination. */
export function breakerVerdict(outcome: AttemptOutcome, policy: CircuitBreakerPolicy): BreakerVerdict {
  if (outcome.kind === 'failure') return destinationFailed(outcome) ? 'failure' : 'neutral';
  const failed = policy.errorCodes.some(([from, to]) => outcome.status >= from && outcome.status <= to);
  return failed || outcome.appRefused ? 'failure' : 'success';
}

const GATEWAY_ERRORS: ReadonlySet<number> = new Set([502, 503, 504]);

/** How an attempt counts for the ejection of its endpoint: failures to connect, resets, timeouts, 502, 503, 504. */
export function endpointVerdict(outcome: AttemptOutcome): BreakerVerdict {
  if (outcome.kind === 'failure') return destinationFailed(outcome) ? 'failure' : 'neutral';
  return GATEWAY_ERRORS.has(outcome.status) ? 'failure' : 'success';
}
