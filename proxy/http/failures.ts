import { HEADERS } from '../../common/contracts.ts';
import type { MeshFailure } from '../../common/errors.ts';
import type { AttemptOutcome } from '../../model/decision-types.ts';

/** RFC 9110, section 9.2.1: sending one twice does no harm. */
export const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** The failures of a request that the exchange itself finds. */

export const CLIENT_GONE: MeshFailure = {
  code: 'downstream-reset',
  source: 'downstream',
  retrySafety: 'never',
  message: 'the client closed the connection before its answer was whole',
};

export const APP_REFUSED: MeshFailure = {
  code: 'app-refused',
  source: 'upstream',
  retrySafety: 'always',
  message: `the app behind the peer refused the connection (${HEADERS.reason})`,
};

export function timedOut(code: 'request-timeout' | 'backend-timeout', limitMs: number): MeshFailure {
  return {
    code,
    source: 'upstream',
    retrySafety: 'never',
    message: `no complete answer within ${limitMs} ms`,
  };
}

/** Responses that no rule would retry aren't asked about: that is nearly all of them. */
export function mayRetry(outcome: AttemptOutcome): boolean {
  if (outcome.kind !== 'response') return false;
  return outcome.status >= 400 || outcome.appRefused || (outcome.grpcStatus ?? '0') !== '0';
}
