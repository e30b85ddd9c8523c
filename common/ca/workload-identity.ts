import { createPrivateKey, X509Certificate } from 'node:crypto';
import { backoffMs } from '../backoff.ts';
import type { Clock, Timer } from '../clock.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { Random } from '../random.ts';
import type { RequestCertificate } from './client.ts';
import { makeKeyAndRequest } from './csr.ts';

export const RENEWAL_BACKOFF = { baseMs: 500, maxMs: 30_000 } as const;
/**
 * A pod waits for its first certificate: the node's agent confirms a sidecar some 100 ms after it listens, and until then its calls
 * are refused like an app's.
 */
export const FIRST_BACKOFF = { baseMs: 50, maxMs: 30_000 } as const;
/** A timer reaches no further than 24.8 days; a longer certificate is renewed before its half-life. */
export const renewalDelayMaxMs = 20 * 24 * 3_600_000;
/** However short a certificate's life: a clock that runs ahead must not make a sidecar ask without pause. */
export const renewalDelayMinMs = 500;

/** A workload's certificate and the roots it trusts. Rotated underneath; `version` changes with any part. */
export interface Credentials {
  readonly version: number;
  /** This workload's SPIFFE ID. */
  readonly identity: string;
  /** Leaf first. */
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly trustBundlePem: string;
  readonly expiresAtMs: number;
}

export interface WorkloadIdentityOptions {
  /** This workload's SPIFFE ID. */
  readonly uri: string;
  readonly requestCertificate: RequestCertificate;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface WorkloadIdentity {
  /** Undefined until the first certificate is there. */
  current(): Credentials | undefined;
  /** Called after each rotation; returns the function that stops it. */
  onChange(listener: (credentials: Credentials) => void): () => void;
  /** The roots as the control plane streams them take the place of those that came with the certificate. */
  trust(bundlePem: string): void;
  /** When the next certificate is due. Milliseconds since the Unix epoch; undefined before the first. */
  renewalAtMs(): number | undefined;
  close(): void;
}

/**
 * Keeps a certificate: gets the first at once, a new one with a new key at half-life, give or take a tenth, and tries
 * again with backoff where the CA can't be reached. Connections that stand keep the certificate they began with.
 */
export function keepIdentity(options: WorkloadIdentityOptions): WorkloadIdentity {
  return new KeptIdentity(options);
}

class KeptIdentity implements WorkloadIdentity {
  readonly #options: WorkloadIdentityOptions;
  readonly #listeners = new Set<(credentials: Credentials) => void>();
  #current: Credentials | undefined;
  #streamedBundle: string | undefined;
  #renewalAtMs: number | undefined;
  #failures = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: WorkloadIdentityOptions) {
    this.#options = options;
    this.#renew();
  }

  current(): Credentials | undefined {
    return this.#current;
  }

  onChange(listener: (credentials: Credentials) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  trust(bundlePem: string): void {
    this.#streamedBundle = bundlePem;
    if (this.#current === undefined || this.#current.trustBundlePem === bundlePem) return;
    this.#put({ ...this.#current, trustBundlePem: bundlePem, version: this.#current.version + 1 });
  }

  renewalAtMs(): number | undefined {
    return this.#renewalAtMs;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#listeners.clear();
  }

  #renew(): void {
    const { uri, requestCertificate } = this.#options;
    const request = makeKeyAndRequest(uri);
    requestCertificate(request.csrPem).then(
      (chain) => {
        if (this.#closed) return;
        try {
          this.#take(request.privateKeyPem, chain.certificateChainPem, chain.rootsPem);
        } catch (thrown) {
          this.#failed(thrown);
        }
      },
      (thrown: unknown) => this.#failed(thrown),
    );
  }

  #take(privateKeyPem: string, certificateChainPem: string, rootsPem: string): void {
    const { clock, random, uri, log } = this.#options;
    const leaf = new X509Certificate(certificateChainPem);
    if (leaf.subjectAltName?.split(', ').includes(`URI:${uri}`) !== true) {
      throw new Error(`the CA's certificate is not for ${uri}`);
    }
    if (!leaf.checkPrivateKey(createPrivateKey(privateKeyPem))) {
      throw new Error("the CA's certificate is for another key than the one it was asked for");
    }
    const expiresAtMs = Date.parse(leaf.validTo);
    const lifeMs = expiresAtMs - clock.wallMs();
    if (lifeMs <= 0) throw new Error("the CA's certificate has expired already");
    this.#failures = 0;
    this.#put({
      version: (this.#current?.version ?? 0) + 1,
      identity: uri,
      certificateChainPem,
      privateKeyPem,
      trustBundlePem: this.#streamedBundle ?? rootsPem,
      expiresAtMs,
    });
    log.info('certificate taken', { identity: uri, expires: new Date(expiresAtMs).toISOString() });
    const halfLifeMs = lifeMs * (0.5 + 0.1 * (2 * random.next() - 1));
    this.#schedule(Math.max(renewalDelayMinMs, Math.min(renewalDelayMaxMs, halfLifeMs)));
  }

  #failed(thrown: unknown): void {
    if (this.#closed) return;
    const { random, log } = this.#options;
    const backoff = this.#current === undefined ? FIRST_BACKOFF : RENEWAL_BACKOFF;
    const delayMs = backoffMs(backoff, this.#failures, random);
    this.#failures++;
    log.warn('no certificate from the CA yet', { reason: messageOf(thrown), retryMs: Math.round(delayMs) });
    this.#schedule(delayMs);
  }

  #schedule(delayMs: number): void {
    const { clock } = this.#options;
    this.#renewalAtMs = clock.wallMs() + delayMs;
    this.#timer = clock.after(delayMs, () => this.#renew(), { background: true });
  }

  #put(credentials: Credentials): void {
    this.#current = Object.freeze(credentials);
    for (const listener of [...this.#listeners]) listener(this.#current);
  }
}
