import type { HashKey, RetryCondition } from '../policy-types.ts';
import { type Fields, shown } from '../read/fields.ts';
import { GRPC_STATUS_NAMES } from '../retry.ts';
import type { PolicyPatch } from './patch.ts';

const ATTEMPTS_MAX = 10;
const COUNT_MAX = 1_000_000;
const BODY_BUFFER_BYTES_MAX = 16 * 1024 * 1024;
const DAY_MS = 86_400_000;
const CONDITIONS: readonly RetryCondition[] = [
  'connect-failure',
  'refused-stream',
  'reset-before-request',
  'reset',
  'gateway-error',
];
const METHODS = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'POST', 'PATCH'];
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Reads the `spec` of a TrafficPolicy but for its targetRefs; whatever is wrong goes to the errors of `spec`. */
export function readTrafficPatch(spec: Fields): PolicyPatch {
  const retry = readRetry(spec.object('retry'));
  return {
    timeouts: readTimeouts(spec.object('timeouts')),
    retry,
    faults: readFaults(spec.object('faults')),
    circuitBreaker: spec.has('circuitBreaker') ? readBreaker(spec.object('circuitBreaker')) : undefined,
    outlierEjection: readEjection(spec.object('outlierEjection')),
    limits: readLimits(spec.object('limits')),
    loadBalancer: readLoadBalancer(spec.object('loadBalancer')),
  };
}

function readTimeouts(from: Fields): PolicyPatch['timeouts'] {
  const timeouts = {
    requestMs: from.durationMs('request'),
    backendRequestMs: from.durationMs('backendRequest'),
    idleMs: from.durationMs('idle'),
    connectMs: from.durationMs('connect', 1, DAY_MS),
  };
  const { requestMs = 0, backendRequestMs = 0 } = timeouts;
  if (requestMs > 0 && backendRequestMs > requestMs) {
    from.error(['backendRequest'], 'must not be longer than timeouts.request');
  }
  from.finish();
  return timeouts;
}

function readRetry(from: Fields): PolicyPatch['retry'] {
  const backoff = from.object('backoff');
  const budget = from.object('budget');
  const retry: PolicyPatch['retry'] = {
    attempts: from.integer('attempts', 0, ATTEMPTS_MAX),
    on: from.choices('on', CONDITIONS),
    codes: statusCodes(from),
    grpcStatus: from.choices('grpcStatus', GRPC_STATUS_NAMES),
    methods: from.choices('methods', METHODS),
    backoffBaseMs: backoff.durationMs('base', 1, DAY_MS),
    backoffMaxMs: backoff.durationMs('max', 1, DAY_MS),
    bodyBufferBytesMax: from.integer('bodyBufferBytesMax', 0, BODY_BUFFER_BYTES_MAX),
    budget: {
      percent: budget.number('percent', 0, 100),
      minPerSecond: budget.number('minPerSecond', 0, COUNT_MAX),
      intervalMs: budget.durationMs('interval', 1_000, DAY_MS),
    },
  };
  const { backoffBaseMs, backoffMaxMs } = retry;
  if (backoffBaseMs !== undefined && backoffMaxMs !== undefined && backoffBaseMs > backoffMaxMs) {
    backoff.error(['base'], 'must not be longer than retry.backoff.max');
  }
  backoff.finish();
  budget.finish();
  from.finish();
  return retry;
}

function statusCodes(from: Fields): readonly number[] | undefined {
  if (!from.has('codes')) return undefined;
  return from.list('codes', 200).flatMap(({ value, path }) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= 400 && value <= 599) return [value];
    from.errors.push({ path, message: `must be a status from 400 to 599, not ${shown(value)}` });
    return [];
  });
}

function readFaults(from: Fields): PolicyPatch['faults'] {
  const abort = from.object('abort');
  const delay = from.object('delay');
  const faults = {
    abortPercent: abort.number('percent', 0, 100),
    abortStatus: abort.integer('status', 200, 599),
    delayPercent: delay.number('percent', 0, 100),
    delayMs: delay.durationMs('time', 0, DAY_MS),
  };
  for (const part of [abort, delay, from]) part.finish();
  return faults;
}

function readBreaker(from: Fields): NonNullable<PolicyPatch['circuitBreaker']> {
  const breaker = {
    errorThresholdPercentage: from.number('errorThresholdPercentage', 0, 100),
    volumeThreshold: from.integer('volumeThreshold', 0, COUNT_MAX),
    rollingCountTimeoutMs: from.durationMs('rollingCountTimeout', 100, DAY_MS),
    rollingCountBuckets: from.integer('rollingCountBuckets', 1, 1_000),
    resetTimeoutMs: from.durationMs('resetTimeout', 1, DAY_MS),
    errorCodes: errorCodes(from),
  };
  from.finish();
  return breaker;
}

/** `"500-599"` or `"503"`, or the number. */
function errorCodes(from: Fields): readonly (readonly [number, number])[] | undefined {
  if (!from.has('errorCodes')) return undefined;
  return from.list('errorCodes', 64).flatMap(({ value, path }) => {
    const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(
      typeof value === 'number' ? String(value) : typeof value === 'string' ? value : '',
    );
    const first = Number(match?.[1] ?? 0);
    const last = Number(match?.[2] ?? first);
    if (match !== null && first <= last) return [[first, last] as const];
    from.errors.push({ path, message: `must be a status or a range such as "500-599", not ${shown(value)}` });
    return [];
  });
}

function readEjection(from: Fields): PolicyPatch['outlierEjection'] {
  const ejection = {
    consecutiveErrors: from.integer('consecutiveErrors', 1, COUNT_MAX),
    baseEjectionMs: from.durationMs('baseEjectionTime', 1, DAY_MS),
    maxEjectionMs: from.durationMs('maxEjectionTime', 1, DAY_MS),
    maxEjectionPercent: from.integer('maxEjectionPercent', 0, 100),
  };
  const { baseEjectionMs, maxEjectionMs } = ejection;
  if (baseEjectionMs !== undefined && maxEjectionMs !== undefined && baseEjectionMs > maxEjectionMs) {
    from.error(['baseEjectionTime'], 'must not be longer than outlierEjection.maxEjectionTime');
  }
  from.finish();
  return ejection;
}

function readLimits(from: Fields): PolicyPatch['limits'] {
  const limits = {
    maxConnections: from.integer('maxConnections', 1, COUNT_MAX),
    maxPendingRequests: from.integer('maxPendingRequests', 0, COUNT_MAX),
    maxRequests: from.integer('maxRequests', 1, COUNT_MAX),
    maxRetries: from.integer('maxRetries', 0, COUNT_MAX),
  };
  from.finish();
  return limits;
}

function readLoadBalancer(from: Fields): PolicyPatch['loadBalancer'] {
  const policy = from.choice('policy', [
    'PeakEwma',
    'LeastRequest',
    'RoundRobin',
    'Random',
    'Maglev',
  ] as const);
  const hash = readHash(from.object('hash'));
  if (hash !== undefined && policy !== 'Maglev') from.error(['hash'], 'needs policy Maglev');
  if (hash === undefined && policy === 'Maglev' && from.errors.length === 0) {
    from.error(['hash'], 'is required with policy Maglev: one of header, cookie, query, sourceIp');
  }
  from.finish();
  return { policy, hash };
}

function readHash(from: Fields): HashKey | undefined {
  const keys: HashKey[] = [];
  for (const kind of ['header', 'cookie', 'query'] as const) {
    const name = from.string(kind, 256);
    if (name === undefined) continue;
    if (!TOKEN.test(name)) from.error([kind], 'must be a name');
    else keys.push({ from: kind, name: kind === 'header' ? name.toLowerCase() : name });
  }
  if (from.boolean('sourceIp') === true) keys.push({ from: 'sourceIp' });
  if (keys.length > 1) from.error([], 'must have only one of header, cookie, query, sourceIp');
  from.finish();
  return keys[0];
}
