import type { RetryPolicy as RetryPolicyProto } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import { RetryPolicy as RetryPolicyCodec } from '../../common/gen/envoy/config/route/v3/route_components.ts';
import type { JsonObject } from '../../common/json.ts';
import { toDuration } from '../../common/wire/values.ts';
import type { RequestPolicy, RetryPolicy } from '../../model/policy-types.ts';

/** Conditions under which the app can't have seen the request; the others retry only some methods. */
const SAFE_CONDITIONS = new Set(['connect-failure', 'refused-stream', 'reset-before-request']);

/** gRPC statuses that Envoy knows as retry conditions. */
const ENVOY_GRPC_CONDITIONS = new Set([
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'RESOURCE_EXHAUSTED',
  'UNAVAILABLE',
]);

/** Envoy's retry policy; the conditions in the model's order come first. */
export function retryPolicy(policy: RequestPolicy): RetryPolicyProto {
  const { retry, timeouts } = policy;
  const conditions: string[] = [...retry.on];
  if (retry.codes.length > 0) conditions.push('retriable-status-codes');
  for (const status of retry.grpcStatus) {
    if (ENVOY_GRPC_CONDITIONS.has(status)) conditions.push(status.toLowerCase().replaceAll('_', '-'));
  }
  return RetryPolicyCodec.fromPartial({
    retryOn: conditions.join(','),
    numRetries: retry.attempts,
    ...(timeouts.backendRequestMs > 0 ? { perTryTimeout: toDuration(timeouts.backendRequestMs) } : {}),
    retriableStatusCodes: [...retry.codes],
    retryBackOff: {
      baseInterval: toDuration(retry.backoffBaseMs),
      maxInterval: toDuration(retry.backoffMaxMs),
    },
    hostSelectionRetryMaxAttempts: 3,
    retryHostPredicate: [
      {
        name: 'envoy.retry_host_predicates.previous_hosts',
        configType: {
          $case: 'typedConfig',
          value: {
            typeUrl:
              'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate',
          },
        },
      },
    ],
    retriableRequestHeaders: methodsMatter(retry)
      ? retry.methods.map((method) => ({
          name: ':method',
          headerMatchSpecifier: {
            $case: 'stringMatch' as const,
            value: { matchPattern: { $case: 'exact' as const, value: method } },
          },
        }))
      : [],
  });
}

/** Envoy has one list of methods for all conditions: it is filled where some condition could repeat work done. */
function methodsMatter(retry: RetryPolicy): boolean {
  return retry.codes.length > 0 || retry.on.some((condition) => !SAFE_CONDITIONS.has(condition));
}

/** What Envoy's fields can't say of a request policy, or say only in part. */
export function requestPolicyMetadata(policy: RequestPolicy): JsonObject {
  const { retry, timeouts, faults } = policy;
  return {
    connectMs: timeouts.connectMs,
    retry: {
      grpcStatus: [...retry.grpcStatus],
      methods: [...retry.methods],
      budget: { ...retry.budget },
      bodyBufferBytesMax: retry.bodyBufferBytesMax,
    },
    faults: { ...faults },
  };
}

/** A whole request policy, for a destination: what applies where none of its routes does. */
export function wholePolicyMetadata(policy: RequestPolicy): JsonObject {
  return {
    timeouts: { ...policy.timeouts },
    retry: retryMetadata(policy.retry),
    faults: { ...policy.faults },
  };
}

function retryMetadata(retry: RetryPolicy): JsonObject {
  return {
    ...retry,
    on: [...retry.on],
    codes: [...retry.codes],
    grpcStatus: [...retry.grpcStatus],
    methods: [...retry.methods],
    budget: { ...retry.budget },
  };
}
