import { HEADERS } from '../../common/contracts.ts';
import type { MeshFailure } from '../../common/errors.ts';
import type { AttemptOutcome } from '../../model/decision-types.ts';
import type { ResponseHead } from '../codec/response-head.ts';

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

/** How an attempt ends with a response. What is said of the app behind the peer counts only where the peer is verified. */
export function responseOutcome(head: ResponseHead, verifiedPeer: string | undefined): AttemptOutcome {
  const reason =
    head.status === 503 && verifiedPeer !== undefined ? head.fields.get(HEADERS.reason) : undefined;
  const grpcStatus = head.fields.get('grpc-status');
  return {
    kind: 'response',
    status: head.status,
    appRefused: reason === 'app-refused',
    ...(grpcStatus === undefined ? {} : { grpcStatus }),
  };
}

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
