import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import { controlPlaneIdentity } from '../../common/ca/control-plane-tls.ts';
import type { Clock, Timer } from '../../common/clock.ts';
import { SYSTEM_NAMESPACE } from '../../common/contracts.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { CertificateAuthority } from './authority.ts';

/** How TLS clients that go by names call it. */
const DNS_NAMES = [`heddle-control-plane.${SYSTEM_NAMESPACE}.svc`, 'localhost'];

/** The control plane's own certificate, renewed at half its life under running connections. */
export interface ServerIdentity {
  readonly credentials: ServerCredentials;
  current(): { readonly certificatePem: string; readonly privateKeyPem: string };
  /** To be called once the authority has changed: a new certificate, and clients by the new roots. */
  renew(): void;
  close(): void;
}

export interface ServerIdentityOptions {
  readonly authority: CertificateAuthority;
  readonly trustDomain: string;
  readonly ttlMs: () => number;
  readonly clock: Clock;
  readonly log: Logger;
}

const RENEWAL_MAX_MS = 24 * 3_600_000;
/** Also how soon a renewal that failed is tried again. */
const RENEWAL_MIN_MS = 10_000;

/** TLS that asks for a client certificate and lets each service decide: the CA is called before there is one. */
export function serverIdentity(options: ServerIdentityOptions): ServerIdentity {
  const { authority, clock, log } = options;
  let current = issue(options);
  type IdentityListener = (update: { certificate: Buffer; privateKey: Buffer } | null) => void;
  type RootListener = (update: { caCertificate: Buffer } | null) => void;
  const listeners = new Set<IdentityListener>();
  const rootListeners = new Set<RootListener>();
  const roots = () => ({ caCertificate: Buffer.from(authority.trustBundlePem()) });
  const update = () => ({
    certificate: Buffer.from(current.certificatePem),
    privateKey: Buffer.from(current.privateKeyPem),
  });
  // gRPC adds the server behind these listeners only after they are registered: told at once, it would never know.
  const later = queueMicrotask;
  const provider = {
    addCaCertificateListener(listener: RootListener) {
      rootListeners.add(listener);
      later(() => listener(roots()));
    },
    removeCaCertificateListener(listener: RootListener) {
      rootListeners.delete(listener);
    },
    addIdentityCertificateListener(listener: IdentityListener) {
      listeners.add(listener);
      later(() => listener(update()));
    },
    removeIdentityCertificateListener(listener: IdentityListener) {
      listeners.delete(listener);
    },
  };
  const renew = () => {
    try {
      current = issue(options);
      for (const listener of listeners) listener(update());
    } catch (thrown) {
      log.error("the control plane's own certificate can't be renewed", { error: messageOf(thrown) });
    }
    timer = schedule();
  };
  const schedule = (): Timer => {
    const halfMs = (current.notAfterMs - clock.wallMs()) / 2;
    const delayMs = Math.max(RENEWAL_MIN_MS, Math.min(halfMs, RENEWAL_MAX_MS));
    return clock.after(delayMs, renew, { background: true });
  };
  let timer = schedule();
  return {
    credentials: experimental.createCertificateProviderServerCredentials(provider, provider, false),
    current: () => current,
    renew() {
      timer.cancel();
      for (const listener of rootListeners) listener(roots());
      renew();
    },
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
    uri: controlPlaneIdentity(trustDomain),
    dns: DNS_NAMES,
    ips: ['127.0.0.1'],
    ttlMs: ttlMs(),
  });
  return { ...leaf, privateKeyPem: pair.privateKey };
}
