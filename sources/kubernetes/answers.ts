import type { Clock, Timer } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { KubernetesError, reasonOf } from './errors.ts';
import type { ApiResponse } from './transport.ts';

/** Of an error's text that isn't JSON, for a message. */
const MESSAGE_CHARS_MAX = 300;

/** Ends a request that takes too long. `again` starts another time, for answers that may last as long as they speak. */
export interface Deadline {
  readonly signal: AbortSignal;
  again(timeoutMs: number): void;
  cancel(): void;
}

/** A signal that is aborted after `timeoutMs` of `clock`, with an error that says so, or once `outer` is. */
export function deadline(
  clock: Clock,
  timeoutMs: number,
  what: string,
  outer: AbortSignal | undefined,
): Deadline {
  const controller = new AbortController();
  const arm = (ms: number): Timer =>
    clock.after(
      ms,
      () => {
        const message = `${what}: the API server said nothing for ${Math.round(ms / 1000)} s`;
        controller.abort(new HeddleError('kubernetes-timeout', message));
      },
      { background: true },
    );
  const onOuter = () => controller.abort(outer?.reason);
  if (outer?.aborted === true) onOuter();
  outer?.addEventListener('abort', onOuter, { once: true });
  let timer = arm(timeoutMs);
  return {
    signal: controller.signal,
    again(ms) {
      timer.cancel();
      timer = arm(ms);
    },
    cancel() {
      timer.cancel();
      outer?.removeEventListener('abort', onOuter);
    },
  };
}

/** The whole text of an answer. Throws code `kubernetes-answer` where it is longer than `bytesMax`. */
export async function textOf({ body }: ApiResponse, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw badAnswer(`it is longer than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** An answer that is a JSON object. */
export function parseObject(text: string): JsonObject {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch (thrown) {
    throw badAnswer('it is no JSON', thrown);
  }
  if (!isJsonObject(value)) throw badAnswer('it is no JSON object');
  return value;
}

export function badAnswer(why: string, cause?: unknown): HeddleError {
  return new HeddleError('kubernetes-answer', `the API server's answer can't be used: ${why}`, { cause });
}

/** The error that an answer of a status other than 2xx is. */
export function refusal(what: string, { status, headers }: ApiResponse, text: string): KubernetesError {
  let answer: JsonObject = {};
  try {
    answer = parseObject(text);
  } catch {
    // A page of text, of a proxy or of a path that the server doesn't know.
  }
  const said = typeof answer.message === 'string' ? answer.message : text.trim().slice(0, MESSAGE_CHARS_MAX);
  return statusError(what, { ...answer, code: status, message: said }, headers['retry-after']);
}

/** The error that a Status object (meta/v1) is, as it comes in an answer or inside a watch. */
export function statusError(what: string, answer: JsonObject, retryAfter?: unknown): KubernetesError {
  const status = typeof answer.code === 'number' ? answer.code : 500;
  const details = isJsonObject(answer.details) ? answer.details : {};
  const causes = Array.isArray(details.causes) ? details.causes : [];
  const seconds = Number(details.retryAfterSeconds ?? retryAfter);
  const reason = typeof answer.reason === 'string' && answer.reason !== '' ? answer.reason : reasonOf(status);
  return new KubernetesError(`${what}: ${String(answer.message)} (${status} ${reason})`, {
    ...{ status, reason },
    causes: causes.flatMap((cause) =>
      isJsonObject(cause) && typeof cause.reason === 'string' ? [cause.reason] : [],
    ),
    retryAfterMs: Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : undefined,
  });
}
