import { HEADERS } from '../../common/contracts.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { RequestMarks } from '../http/heads.ts';
import type { ClientInfo } from '../http/server-types.ts';
import type { AttemptScope, RequestScope } from '../stage.ts';
import type { FailedAttempt } from '../upstream/connect.ts';

/**
 * What the app is told of its caller. A verified peer is another sidecar: what it says of addresses and attempts is
 * kept. Anybody else's word is replaced by what this sidecar sees itself.
 */
export function inboundMarks(
  head: RequestHead,
  client: ClientInfo,
  scope: RequestScope,
  attempt: AttemptScope,
  ownIdentity: string | undefined,
): RequestMarks {
  const verified = client.peer !== undefined;
  return {
    traceparent: attempt.traceparent,
    tracestate: attempt.tracestate,
    b3: attempt.b3,
    requestId: scope.requestId,
    attempt: verified ? head.incomingAttempt : undefined,
    forwardedFor: verified ? head.fields.get(HEADERS.forwardedFor) : client.remoteAddress,
    forwardedProto: (verified ? head.fields.get(HEADERS.forwardedProto) : undefined) ?? 'http',
    clientCert: verified ? `By=${ownIdentity ?? ''};URI=${client.peer}` : undefined,
  };
}

/** An app that isn't there is told apart from a peer that isn't: nothing was sent, so any request may go elsewhere. */
export function describeAppFailure(failed: FailedAttempt): FailedAttempt {
  if (!failed.refused) return failed;
  return {
    ...failed,
    failure: {
      code: 'app-refused',
      source: 'upstream',
      retrySafety: 'always',
      message: `the app refused the connection (${failed.failure.message}); is it listening?`,
    },
  };
}
