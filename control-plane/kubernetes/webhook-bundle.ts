import { isJsonObject, type JsonObject, type JsonValue } from '../../common/json.ts';
import type { KubeObject } from '../../model/objects.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { type ClusterApi, changeObject } from './api.ts';
import type { Work } from './reconciler.ts';
import { base64 } from './root-secret.ts';

/** Which webhook configurations are Heddle's, of all its revisions. */
export const WEBHOOK_SELECTOR = 'app.kubernetes.io/part-of=heddle';

/** The roots by which the API server knows the injector, in every webhook of every configuration of Heddle's. */
export function planWebhookBundles(
  configurations: readonly KubeObject[],
  bundlePem: string,
  api: ClusterApi,
): readonly Work[] {
  const caBundle = base64(bundlePem);
  const holds = (configuration: KubeObject) =>
    webhooksOf(configuration).every((webhook) => clientConfigOf(webhook).caBundle === caBundle);
  // A merge patch replaces lists whole: it is made of the list as it stands then.
  const change = (fresh: KubeObject): JsonObject | undefined =>
    holds(fresh)
      ? undefined
      : {
          webhooks: webhooksOf(fresh).map((webhook) => ({
            ...webhook,
            clientConfig: { ...clientConfigOf(webhook), caBundle },
          })),
        };
  return configurations
    .filter((configuration) => !holds(configuration))
    .map(({ metadata: { name }, webhooks }) => ({
      ...{ key: `MutatingWebhookConfiguration ${name}`, print: caBundle, version: JSON.stringify(webhooks) },
      run: () => changeObject(api, { kind: KINDS.mutatingWebhook, name }, change),
    }));
}

function webhooksOf({ webhooks }: KubeObject): readonly JsonObject[] {
  const list: readonly JsonValue[] = Array.isArray(webhooks) ? webhooks : [];
  return list.filter(isJsonObject);
}

function clientConfigOf({ clientConfig }: JsonObject): JsonObject {
  return isJsonObject(clientConfig) ? clientConfig : {};
}
