import { generateKeyPairSync, sign } from 'node:crypto';

export interface TokenSubject {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod: string;
}

/** A service-account token issuer as the local mesh runs one: ES256, audience `heddle-ca`. */
export interface TokenIssuer {
  readonly publicKeyPem: string;
  issue(
    subject: TokenSubject,
    overrides?: { readonly audience?: string; readonly expiresInSeconds?: number },
  ): string;
}

export function createTokenIssuer(): TokenIssuer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    issue(subject, overrides) {
      const issuedAt = Math.floor(Date.now() / 1000);
      const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
      const signed = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode({
        iss: 'heddle-local',
        aud: [overrides?.audience ?? 'heddle-ca'],
        sub: `system:serviceaccount:${subject.namespace}:${subject.serviceAccount}`,
        iat: issuedAt,
        exp: issuedAt + (overrides?.expiresInSeconds ?? 3600),
        'kubernetes.io': {
          namespace: subject.namespace,
          pod: { name: subject.pod, uid: `${subject.namespace}-${subject.pod}` },
          serviceaccount: { name: subject.serviceAccount },
        },
      })}`;
      const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      return `${signed}.${signature.toString('base64url')}`;
    },
  };
}
