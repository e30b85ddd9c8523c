import type {
  RetryPolicy as RetryPolicyProto,
  RouteAction,
} from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type { FaultPolicy, RequestPolicy, RetryCondition } from '../../model/policy-types.ts';
import { ConfigError, durationMaxMs, durationMs, onlyFields, optionalDurationMs, Reader } from './reader.ts';

const attemptsMax = 100;
const CONDITIONS: readonly RetryCondition[] = [
  'connect-failure',
  'refused-stream',
  'reset-before-request',
  'reset',
  'gateway-error',
];
const GRPC_CONDITIONS = ['cancelled', 'deadline-exceeded', 'internal', 'resource-exhausted', 'unavailable'];
const countMax = 1_000_000_000;

/** The part of a request policy that standard fields of a route say. */
export interface StandardPolicy {
  readonly requestMs: number;
  readonly backendRequestMs: number;
  readonly idleMs: number;
  readonly attempts: number;
  readonly on: readonly RetryCondition[];
  readonly codes: readonly number[];
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
}

export function standardPolicy(action: RouteAction, path: string): StandardPolicy {
  const retry = action.retryPolicy;
  if (retry === undefined) throw new ConfigError(`${path}.retry_policy`, 'is missing');
  const at = `${path}.retry_policy`;
  onlyFields(retry, RETRY_FIELDS, at);
  const read = (value: unknown, field: string) => new Reader(value, `${at}.${field}`);
  return {
    requestMs: optionalDurationMs(action.timeout, `${path}.timeout`) ?? 0,
    backendRequestMs: optionalDurationMs(retry.perTryTimeout, `${at}.per_try_timeout`) ?? 0,
    idleMs: optionalDurationMs(action.idleTimeout, `${path}.idle_timeout`) ?? 0,
    attempts: read(retry.numRetries ?? 1, 'num_retries').integer(0, attemptsMax),
    on: retryConditions(retry, path),
    codes: read(retry.retriableStatusCodes, 'retriable_status_codes').list((code) => code.integer(100, 599)),
    backoffBaseMs: durationMs(retry.retryBackOff?.baseInterval, `${at}.retry_back_off.base_interval`),
    backoffMaxMs: durationMs(retry.retryBackOff?.maxInterval, `${at}.retry_back_off.max_interval`),
  };
}

/** The last three are Envoy's words for what Heddle always does, or reads from the metadata. */
const RETRY_FIELDS = [
  'retryOn',
  'numRetries',
  'perTryTimeout',
  'retriableStatusCodes',
  'retryBackOff',
  'retryHostPredicate',
  'hostSelectionRetryMaxAttempts',
  'retriableRequestHeaders',
];

/** The same, where the route answers by itself and has no fields for it. */
export function standardPolicyFromMetadata(action: Reader): StandardPolicy {
  return {
    requestMs: action.field('requestMs').number(0, durationMaxMs),
    backendRequestMs: action.field('backendRequestMs').number(0, durationMaxMs),
    idleMs: action.field('idleMs').number(0, durationMaxMs),
    attempts: action.field('attempts').integer(0, attemptsMax),
    on: action.field('on').list((item) => item.oneOf(CONDITIONS)),
    codes: action.field('codes').list((item) => item.integer(100, 599)),
    backoffBaseMs: action.field('backoffBaseMs').number(0, durationMaxMs),
    backoffMaxMs: action.field('backoffMaxMs').number(0, durationMaxMs),
  };
}

function retryConditions(retry: RetryPolicyProto, path: string): RetryCondition[] {
  const found: RetryCondition[] = [];
  for (const word of retry.retryOn.split(',')) {
    const condition = CONDITIONS.find((candidate) => candidate === word);
    if (condition !== undefined) found.push(condition);
    else if (word !== '' && word !== 'retriable-status-codes' && !GRPC_CONDITIONS.includes(word)) {
      throw new ConfigError(`${path}.retry_policy.retry_on`, `"${word}" is not supported by this proxy`);
    }
  }
  return found;
}

/** Joins both parts of a rule's policy. */
export function requestPolicy(standard: StandardPolicy, metadata: Reader): RequestPolicy {
  const retry = metadata.field('retry');
  return {
    timeouts: {
      requestMs: standard.requestMs,
      backendRequestMs: standard.backendRequestMs,
      idleMs: standard.idleMs,
      connectMs: metadata.field('connectMs').number(0, durationMaxMs),
    },
    retry: {
      attempts: standard.attempts,
      on: standard.on,
      codes: standard.codes,
      ...retryExtras(retry),
      backoffBaseMs: standard.backoffBaseMs,
      backoffMaxMs: standard.backoffMaxMs,
    },
    faults: faults(metadata.field('faults')),
  };
}

/** A destination's policy, all of it in metadata. */
export function wholePolicy(metadata: Reader): RequestPolicy {
  const timeouts = metadata.field('timeouts');
  const retry = metadata.field('retry');
  return {
    timeouts: {
      requestMs: timeouts.field('requestMs').number(0, durationMaxMs),
      backendRequestMs: timeouts.field('backendRequestMs').number(0, durationMaxMs),
      idleMs: timeouts.field('idleMs').number(0, durationMaxMs),
      connectMs: timeouts.field('connectMs').number(0, durationMaxMs),
    },
    retry: {
      attempts: retry.field('attempts').integer(0, attemptsMax),
      on: retry.field('on').list((item) => item.oneOf(CONDITIONS)),
      codes: retry.field('codes').list((item) => item.integer(100, 599)),
      ...retryExtras(retry),
      backoffBaseMs: retry.field('backoffBaseMs').number(0, durationMaxMs),
      backoffMaxMs: retry.field('backoffMaxMs').number(0, durationMaxMs),
    },
    faults: faults(metadata.field('faults')),
  };
}

function retryExtras(retry: Reader) {
  const budget = retry.field('budget');
  return {
    grpcStatus: retry.field('grpcStatus').list((item) => item.string()),
    methods: retry.field('methods').list((item) => item.string()),
    budget: {
      percent: budget.field('percent').number(0, 1000),
      minPerSecond: budget.field('minPerSecond').number(0, countMax),
      intervalMs: budget.field('intervalMs').number(0, durationMaxMs),
    },
    bodyBufferBytesMax: retry.field('bodyBufferBytesMax').integer(0, countMax),
  };
}

function faults(metadata: Reader): FaultPolicy {
  return {
    abortPercent: metadata.field('abortPercent').number(0, 100),
    abortStatus: metadata.field('abortStatus').integer(100, 599),
    delayPercent: metadata.field('delayPercent').number(0, 100),
    delayMs: metadata.field('delayMs').number(0, durationMaxMs),
  };
}
