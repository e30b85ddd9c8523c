import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { textAt } from '../../../cli/kube/fields.ts';
import { systemClock } from '../../../common/clock.ts';
import type { JsonObject, JsonValue } from '../../../common/json.ts';
import { createAuthority, makeRoot } from '../../../control-plane/ca/authority.ts';

const HOUR_MS = 3_600_000;

export interface OtherWebhook {
  readonly clientConfig: JsonObject;
  /** How often it was asked. */
  calls(): number;
  close(): Promise<void>;
}

/** Somebody else's mutating webhook: answers each AdmissionReview with the operations that `patch` makes of its pod. */
export async function otherWebhook(
  address: string,
  patch: (pod: JsonValue | undefined) => readonly JsonObject[],
): Promise<OtherWebhook> {
  const root = makeRoot('other', HOUR_MS, systemClock);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { certificatePem } = createAuthority(root, systemClock).issue({
    ...{ publicKey, uri: 'spiffe://other/webhook', ips: [address], ttlMs: HOUR_MS },
  });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  let calls = 0;
  const server = createServer({ key, cert: certificatePem }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      calls++;
      const review = JSON.parse(Buffer.concat(chunks).toString()) as JsonObject;
      const { object } = review.request as JsonObject;
      const operations = Buffer.from(JSON.stringify(patch(object))).toString('base64');
      const uid = textAt(review, 'request', 'uid');
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({
          ...{ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' },
          response: { uid, allowed: true, patchType: 'JSONPatch', patch: operations },
        }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    clientConfig: {
      url: `https://${address}:${port}/`,
      caBundle: Buffer.from(root.certificatePem).toString('base64'),
    },
    calls: () => calls,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
