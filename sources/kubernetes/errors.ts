import { HeddleError } from '../../common/errors.ts';

/** What an API server's answer says of why it refused (meta/v1, StatusReason), as far as anybody here asks. */
export type ApiReason =
  | 'NotFound'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Forbidden'
  | 'Unauthorized'
  | 'Invalid'
  | 'BadRequest'
  | 'Expired'
  | 'TooManyRequests'
  | 'Timeout'
  | 'ServiceUnavailable'
  | 'InternalError';

/** By HTTP status, where the answer is no Status object: a proxy's page, `404 page not found`. */
const REASONS: Readonly<Record<number, ApiReason>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

export interface ApiFailure {
  readonly status: number;
  /** An `ApiReason`, or another one of the server's. */
  readonly reason: string;
  /** Of `details.causes`: `FieldValueInvalid`, `ResourceVersionTooLarge`. */
  readonly causes: readonly string[];
  /** How long the server asks to be left alone. */
  readonly retryAfterMs: number | undefined;
}

/** An API server answered, and the answer is no. Code `kubernetes`; callers go by `reason`. */
export class KubernetesError extends HeddleError {
  readonly status: number;
  readonly reason: string;
  readonly causes: readonly string[];
  readonly retryAfterMs: number | undefined;

  constructor(message: string, { status, reason, causes, retryAfterMs }: ApiFailure) {
    super('kubernetes', message);
    this.status = status;
    this.reason = reason;
    this.causes = causes;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether the API server refused for this reason. */
export function hasReason(thrown: unknown, ...reasons: readonly ApiReason[]): thrown is KubernetesError {
  return thrown instanceof KubernetesError && reasons.some((reason) => reason === thrown.reason);
}

export function reasonOf(status: number): ApiReason {
  return REASONS[status] ?? (status >= 500 ? 'InternalError' : 'BadRequest');
}
