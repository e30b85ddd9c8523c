import { isJsonObject, type JsonObject } from '../../common/json.ts';
import { recordOf, textOf } from '../../model/read/meta.ts';
import type { Injection } from '../patch/inject.ts';
import { messageCharsMax, warningCharsMax, warningsMax } from './limits.ts';
import { shapeFault } from './shape.ts';

/** Decides on the pod of a request. */
export type DecidePod = (pod: unknown, namespace: string) => Injection;

/** What the log says of a review. Texts come from the request. */
interface Decision {
  readonly outcome: 'injected' | 'skipped' | 'refused';
  readonly uid: string;
  readonly namespace: string;
  /** A name, or the prefix that one will be made of. */
  readonly pod: string;
  readonly dryRun: boolean;
  readonly reason: string;
}

export type ReviewAnswer =
  | { readonly kind: 'review'; readonly body: JsonObject; readonly decision: Decision }
  /** There is nobody to answer in the terms of a review: the HTTP status says it. */
  | { readonly kind: 'malformed'; readonly message: string };

const API_VERSION = 'admission.k8s.io/v1';
const uidCharsMax = 256;
/** The pod is at fault, not the request. */
const UNPROCESSABLE = 422;

/** Answers an AdmissionReview (admission.k8s.io/v1) about a pod. Never throws; without side effects, so that a dry run is one. */
export function answerReview(text: string, decide: DecidePod): ReviewAnswer {
  const fault = shapeFault(text);
  if (fault !== undefined) return malformed(fault);
  let review: unknown;
  try {
    review = JSON.parse(text);
  } catch {
    return malformed('the body is not JSON');
  }
  if (!isJsonObject(review) || review.kind !== 'AdmissionReview')
    return malformed('the body is not an AdmissionReview');
  if (review.apiVersion !== API_VERSION)
    return malformed(`this webhook speaks ${API_VERSION}: set admissionReviewVersions to [v1]`);
  const { request } = review;
  if (!isJsonObject(request)) return malformed('the AdmissionReview has no request');
  const uid = textOf(request.uid);
  if (uid === undefined || uid.length > uidCharsMax) return malformed('the request has no uid');
  const injection = decideRequest(request, decide);
  return {
    kind: 'review',
    body: { apiVersion: API_VERSION, kind: 'AdmissionReview', response: { uid, ...response(injection) } },
    decision: {
      uid,
      namespace: clip(textOf(request.namespace) ?? '', warningCharsMax),
      pod: podName(request),
      dryRun: request.dryRun === true,
      ...summary(injection),
    },
  };
}

function decideRequest(request: JsonObject, decide: DecidePod): Injection {
  const { group, version, resource } = recordOf(request.resource);
  if (group !== '' || version !== 'v1' || resource !== 'pods')
    return refuse('only pods are injected: leave other resources out of the webhook configuration');
  if (request.operation !== 'CREATE' || textOf(request.subResource) !== undefined)
    return { kind: 'skip', reason: 'a sidecar is added when a pod is created only', warnings: [] };
  const namespace = textOf(request.namespace);
  if (namespace === undefined) return refuse('the request names no namespace');
  return decide(request.object, namespace);
}

function response(injection: Injection): JsonObject {
  switch (injection.kind) {
    case 'patch':
      return {
        allowed: true,
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(injection.operations)).toString('base64'),
        ...warningsOf(injection.warnings),
      };
    case 'skip':
      return { allowed: true, ...warningsOf(injection.warnings) };
    case 'refuse': {
      const message = clip(injection.message, messageCharsMax);
      return {
        allowed: false,
        status: { status: 'Failure', code: UNPROCESSABLE, reason: 'Invalid', message },
      };
    }
    default:
      return injection satisfies never;
  }
}

function summary(injection: Injection): Pick<Decision, 'outcome' | 'reason'> {
  switch (injection.kind) {
    case 'patch':
      return { outcome: 'injected', reason: clip(injection.warnings.join('; '), messageCharsMax) };
    case 'skip':
      return { outcome: 'skipped', reason: clip(injection.reason, messageCharsMax) };
    case 'refuse':
      return { outcome: 'refused', reason: clip(injection.message, messageCharsMax) };
    default:
      return injection satisfies never;
  }
}

function warningsOf(warnings: readonly string[]): JsonObject {
  if (warnings.length === 0) return {};
  return {
    warnings: warnings.slice(0, warningsMax).map((warning) => clip(`heddle: ${warning}`, warningCharsMax)),
  };
}

function podName(request: JsonObject): string {
  const { name, generateName } = recordOf(recordOf(request.object).metadata);
  const known = textOf(request.name) ?? textOf(name);
  const prefix = textOf(generateName);
  return clip(known ?? (prefix === undefined ? '' : `${prefix}*`), warningCharsMax);
}

function clip(text: string, charsMax: number): string {
  return text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;
}

function refuse(message: string): Injection {
  return { kind: 'refuse', message };
}

function malformed(message: string): ReviewAnswer {
  return { kind: 'malformed', message };
}
