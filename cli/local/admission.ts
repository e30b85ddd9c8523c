import https from 'node:https';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { HeddleError, messageOf, type Result } from '../../common/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import { DEFAULT_REVISION, selectionOf } from '../../injector/patch/webhooks.ts';
import type { KubeObject } from '../../model/objects.ts';
import { at, listAt, textAt } from '../kube/fields.ts';
import { applyJsonPatch } from './json-patch.ts';

type Labels = Readonly<Record<string, string>>;

/** A larger answer of the webhook is refused. */
export const answerBytesMax = 1024 * 1024;
/** As `timeoutSeconds` of the webhook configuration. */
const webhookTimeoutMs = 10_000;
const SERVER_NAME = `heddle-injector.${SYSTEM_NAMESPACE}.svc`;

/** Whether the API server would ask the webhook about a pod: the selectors of the revision that a local mesh runs. */
export function webhookSelects(namespace: string, namespaceLabels: Labels, podLabels: Labels): boolean {
  const { selected, revision } = selectionOf(namespace, namespaceLabels, podLabels);
  return selected && revision === DEFAULT_REVISION;
}

export interface WebhookAddress {
  readonly port: number;
  /** The mesh's root, which the webhook's certificate must lead to. */
  readonly rootPem: string;
}

/** Sends a new pod through the webhook over HTTPS and returns the patched pod. Fails closed, as `failurePolicy: Fail`. */
export async function admitPod(
  address: WebhookAddress,
  pod: KubeObject,
  uid: string,
  timeoutMs = webhookTimeoutMs,
): Promise<Result<KubeObject>> {
  let answer: JsonValue;
  try {
    answer = JSON.parse(await post(address, JSON.stringify(reviewOf(pod, uid)), timeoutMs)) as JsonValue;
  } catch (thrown) {
    return refused(`the injection webhook could not be asked: ${messageOf(thrown)}`);
  }
  const response = at(answer, 'response');
  if (textAt(response, 'uid') !== uid) return refused('the injection webhook answered another request');
  if (at(response, 'allowed') !== true)
    return refused(
      `the injection webhook refused: ${textAt(response, 'status', 'message') ?? 'no reason given'}`,
    );
  const encoded = textAt(response, 'patch');
  if (encoded === undefined) return { ok: true, value: pod };
  return patched(pod, encoded);
}

function patched(pod: KubeObject, encoded: string): Result<KubeObject> {
  let patch: JsonValue;
  try {
    patch = JSON.parse(Buffer.from(encoded, 'base64').toString('utf8')) as JsonValue;
  } catch (thrown) {
    return refused(`the injection webhook sent no JSON patch: ${messageOf(thrown)}`);
  }
  const result = applyJsonPatch(pod, listAt(patch));
  if (!result.ok) return refused(`the injection webhook's patch doesn't apply: ${result.error.message}`);
  if (!isJsonObject(result.value) || !isJsonObject(result.value.metadata))
    return refused("the injection webhook's patch leaves no pod");
  return { ok: true, value: { ...pod, ...result.value } };
}

function reviewOf(pod: KubeObject, uid: string): JsonObject {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid,
      kind: { group: '', version: 'v1', kind: 'Pod' },
      resource: { group: '', version: 'v1', resource: 'pods' },
      requestKind: { group: '', version: 'v1', kind: 'Pod' },
      requestResource: { group: '', version: 'v1', resource: 'pods' },
      name: pod.metadata.name,
      namespace: pod.metadata.namespace ?? 'default',
      operation: 'CREATE',
      userInfo: { username: 'system:heddle:local' },
      object: pod,
      oldObject: null,
      dryRun: false,
      options: { apiVersion: 'meta.k8s.io/v1', kind: 'CreateOptions' },
    },
  };
}

function post(address: WebhookAddress, body: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        ...{ host: '127.0.0.1', port: address.port, path: '/inject', method: 'POST', agent: false },
        ...{ servername: SERVER_NAME, ca: address.rootPem, timeout: timeoutMs },
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.byteLength;
          if (bytes > answerBytesMax) response.destroy(new Error(`an answer over ${answerBytesMax} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
          else reject(new Error(`HTTP status ${response.statusCode}`));
        });
      },
    );
    request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    request.on('error', reject);
    request.end(body);
  });
}

function refused(message: string): { readonly ok: false; readonly error: HeddleError } {
  return { ok: false, error: new HeddleError('admission', message) };
}
