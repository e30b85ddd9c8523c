import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Clock } from '../../common/clock.ts';
import { TOKEN_AUDIENCE } from '../../common/contracts.ts';

export const tokenTtlMs = 3_600_000;
/** kubelet renews a token at 80 % of its life. */
export const tokenRenewMs = tokenTtlMs * 0.8;

export interface TokenSubject {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string;
  readonly podUid: string;
}

/** The API server's part in identity: service-account tokens (ES256 JWT) that the control plane checks by public key. */
export interface TokenIssuer {
  readonly publicKeyPem: string;
  issue(subject: TokenSubject, audience?: string): string;
}

/** Uses the key in `keyFile`, or makes one there (mode 0600). The key never leaves this process and that file. */
export function openTokenIssuer(clock: Clock, keyFile: string): TokenIssuer {
  const privateKey = loadKey(keyFile);
  const publicKeyPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
  return {
    publicKeyPem,
    issue(subject, audience = TOKEN_AUDIENCE) {
      const issuedAtSeconds = Math.floor(clock.wallMs() / 1_000);
      const signed = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode({
        iss: 'heddle-local',
        aud: [audience],
        sub: `system:serviceaccount:${subject.namespace}:${subject.serviceAccount}`,
        iat: issuedAtSeconds,
        exp: issuedAtSeconds + tokenTtlMs / 1_000,
        'kubernetes.io': {
          namespace: subject.namespace,
          pod: { name: subject.podName, uid: subject.podUid },
          serviceaccount: { name: subject.serviceAccount },
        },
      })}`;
      // JWS wants r and s side by side, not DER (RFC 7518, section 3.4).
      const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
      return `${signed}.${signature.toString('base64url')}`;
    },
  };
}

function loadKey(keyFile: string): KeyObject {
  if (existsSync(keyFile)) return createPrivateKey(readFileSync(keyFile));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
  return privateKey;
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
