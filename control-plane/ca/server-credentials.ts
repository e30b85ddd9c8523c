import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import type { Clock, Timer } from '../../common/clock.ts';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { spiffeId } from '../../common/spiffe.ts';
import type { CertificateAuthority } from './authority.ts';

export const CONTROL_PLANE_ACCOUNT = 'heddle-control-plane';
export const CONTROL_PLANE_DNS = `${CONTROL_PLANE_ACCOUNT}.${SYSTEM_NAMESPACE}.svc`;

/** The control plane's own certificate, renewed at half its life under running connections. */
export interface ServerIdentity {
  readonly credentials: ServerCredentials;
  current(): { readonly certificatePem: string; readonly privateKeyPem: string };
  close(): void;
}

export interface ServerIdentityOptions {
  readonly authority: CertificateAuthority;
  readonly trustDomain: string;
  readonly ttlMs: number;
  readonly clock: Clock;
}

const RENEWAL_MAX_MS = 24 * 3_600_000;

/** TLS that asks for a client certificate and lets each service decide: the CA is called before there is one. */
export function serverIdentity(options: ServerIdentityOptions): ServerIdentity {
  const { authority, clock } = options;
  let current = issue(options);
  type IdentityListener = (update: { certificate: Buffer; privateKey: Buffer } | null) => void;
  type RootListener = (update: { caCertificate: Buffer } | null) => void;
  const listeners = new Set<IdentityListener>();
  const update = () => ({
    certificate: Buffer.from(current.certificatePem),
    privateKey: Buffer.from(current.privateKeyPem),
  });
  // gRPC adds the server behind these listeners only after they are registered: told at once, it would never know.
  const later = queueMicrotask;
  const provider = {
    addCaCertificateListener(listener: RootListener) {
      later(() => listener({ caCertificate: Buffer.from(authority.trustBundlePem()) }));
    },
    removeCaCertificateListener() {
      // The bundle is told once, at registration: there is no list to leave.
      return undefined;
    },
    addIdentityCertificateListener(listener: IdentityListener) {
      listeners.add(listener);
      later(() => listener(update()));
    },
    removeIdentityCertificateListener(listener: IdentityListener) {
      listeners.delete(listener);
    },
  };
  let timer: Timer;
  const schedule = () => {
    const delayMs = Math.min(options.ttlMs / 2, RENEWAL_MAX_MS);
    timer = clock.after(
      delayMs,
      () => {
        current = issue(options);
        for (const listener of listeners) listener(update());
        schedule();
      },
      { background: true },
    );
  };
  schedule();
  return {
    credentials: experimental.createCertificateProviderServerCredentials(provider, provider, false),
    current: () => current,
    close: () => timer.cancel(),
  };
}

function issue({ authority, trustDomain, ttlMs }: ServerIdentityOptions) {
  const pair = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const leaf = authority.issue({
    publicKey: createPublicKey(createPrivateKey(pair.privateKey)),
    uri: spiffeId({ trustDomain, namespace: SYSTEM_NAMESPACE, serviceAccount: CONTROL_PLANE_ACCOUNT }),
    dns: [CONTROL_PLANE_DNS, 'localhost'],
    ips: ['127.0.0.1'],
    ttlMs,
  });
  return { certificatePem: leaf.certificatePem, privateKeyPem: pair.privateKey };
}
