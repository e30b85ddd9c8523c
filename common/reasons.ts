/** Why the mesh itself answered or gave up. Sent in `x-heddle-reason`, on spans, in logs and metrics. */
export type ReasonCode =
  | 'no-route'
  | 'no-backend'
  | 'fault'
  | 'no-endpoints'
  | 'all-ejected'
  | 'connect-failure'
  | 'connect-timeout'
  | 'upstream-reset'
  | 'request-timeout'
  | 'backend-timeout'
  | 'circuit-open'
  | 'limit-connections'
  | 'limit-pending'
  | 'limit-requests'
  | 'limit-retries'
  | 'retry-budget'
  | 'mtls-required'
  | 'peer-identity'
  | 'denied'
  | 'overload'
  | 'draining'
  | 'bad-request'
  | 'headers-too-large'
  | 'body-too-large'
  | 'unknown-destination'
  | 'config-unavailable'
  | 'app-refused'
  | 'downstream-reset';

const STATUS_OF: Partial<Record<ReasonCode, number>> = {
  'bad-request': 400,
  denied: 403,
  'no-route': 404,
  'body-too-large': 413,
  'headers-too-large': 431,
  'no-backend': 500,
  'request-timeout': 504,
  'backend-timeout': 504,
};

/** The HTTP status of an answer that the mesh makes for `code`; a `fault` brings its own. Unlisted codes are 503. */
export function statusOfReason(code: ReasonCode): number {
  return STATUS_OF[code] ?? 503;
}
