import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, writeAtomically } from '../../common/atomic-file.ts';
import type { Clock } from '../../common/clock.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { sequence } from '../../common/wire/der.ts';
import {
  buildCertificate,
  certificatePem,
  leafExtensions,
  selfSignedRoot,
  subjectKeyIdentifierOf,
  subjectOf,
} from './certificate.ts';

/** Clocks of a cluster differ: a certificate is valid from a little before it was made. */
export const backdateMs = 60_000;

/** A certificate wanted: the caller has authenticated whoever asks. */
export interface LeafRequest {
  readonly publicKey: KeyObject;
  readonly uri: string;
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
  readonly ttlMs: number;
}

export interface IssuedLeaf {
  readonly certificatePem: string;
  readonly notAfterMs: number;
}

/** Signs workload certificates. */
export interface CertificateAuthority {
  /** What peers must trust, PEM: the current root, and others while one replaces another. */
  trustBundlePem(): string;
  issue(request: LeafRequest): IssuedLeaf;
}

export interface RootMaterial {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** An authority whose root another one can take the place of. */
export interface ChangeableAuthority extends CertificateAuthority {
  /** Signs by `root` from now on, and trusts it and `besides` (PEM). Throws `bad-root` as `createAuthority`, and stays as it is then. */
  change(root: RootMaterial, besides: readonly string[]): void;
  /** After each change. Returns the function that stops it. */
  onChange(listener: () => void): () => void;
}

export function changeableAuthority(
  root: RootMaterial,
  besides: readonly string[],
  clock: Clock,
): ChangeableAuthority {
  let current = createAuthority(root, clock, besides);
  const listeners = new Set<() => void>();
  return {
    trustBundlePem: () => current.trustBundlePem(),
    issue: (request) => current.issue(request),
    change(next, also) {
      current = createAuthority(next, clock, also);
      for (const listener of [...listeners]) listener();
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * Throws `HeddleError` (`bad-root`) where certificate and key don't make a P-256 root that may sign now. `issue` throws it,
 * too, once the root has expired: nothing signed by it would be trusted any more. `besides` are trusted as well (PEM).
 */
export function createAuthority(
  root: RootMaterial,
  clock: Clock,
  besides: readonly string[] = [],
): CertificateAuthority {
  const { certificate, key } = readRoot(root, clock.wallMs());
  const rootEndsMs = certificate.validToDate.getTime();
  const issuerName = subjectOf(certificate);
  const issuerKeyId = subjectKeyIdentifierOf(certificate);
  const bundle = [...new Set([certificate.toString(), ...besides.map(normalPem)])].join('');
  return {
    trustBundlePem: () => bundle,
    issue(request) {
      const nowMs = clock.wallMs();
      if (rootEndsMs <= nowMs) throw badRoot('the root certificate has expired: replace it, then start anew');
      const notAfterMs = Math.min(nowMs + request.ttlMs, rootEndsMs);
      const names = { uri: request.uri, dns: request.dns ?? [], ips: request.ips ?? [] };
      const der = buildCertificate({
        issuerName,
        subject: sequence(),
        publicKey: request.publicKey,
        notBeforeMs: nowMs - backdateMs,
        notAfterMs,
        serial: randomBytes(16),
        extensions: leafExtensions(names, request.publicKey, issuerKeyId),
        issuerKey: key,
      });
      return { certificatePem: certificatePem(der), notAfterMs };
    },
  };
}

/** One certificate, in the one form that Node gives it: bundles are compared as texts. */
export function normalPem(pem: string): string {
  return readPart('the root certificate', () => new X509Certificate(pem)).toString();
}

function badRoot(message: string): HeddleError {
  return new HeddleError('bad-root', message);
}

/** Proxies verify chains up to a root of their own, and each leaf is signed by it: an intermediate would not do. */
function readRoot(root: RootMaterial, nowMs: number) {
  const certificate = readPart('the root certificate', () => new X509Certificate(root.certificatePem));
  const key = readPart('the root key', () => createPrivateKey(root.privateKeyPem));
  if (root.certificatePem.split('-----BEGIN CERTIFICATE-----').length !== 2) {
    throw badRoot('the root must be exactly one certificate');
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw badRoot('the root key must be an ECDSA key on P-256');
  }
  if (!certificate.checkPrivateKey(key)) {
    throw badRoot('the root key does not belong to the root certificate');
  }
  if (!certificate.ca) throw badRoot('the root certificate may not sign certificates');
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
    throw badRoot('the root certificate must be signed by itself; an intermediate is not supported');
  }
  if (certificate.validToDate.getTime() <= nowMs) throw badRoot('the root certificate has expired');
  if (certificate.validFromDate.getTime() > nowMs + backdateMs) {
    throw badRoot('the root certificate is not valid yet');
  }
  return { certificate, key };
}

function readPart<T extends X509Certificate | KeyObject>(what: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw badRoot(`${what} can't be read as PEM without a passphrase: ${messageOf(thrown)}`);
  }
}

/** A new self-signed P-256 root. */
export function makeRoot(trustDomain: string, ttlMs: number, clock: Clock): RootMaterial {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const nowMs = clock.wallMs();
  const der = selfSignedRoot(
    'Heddle root',
    trustDomain,
    privateKey,
    randomBytes(16),
    nowMs - backdateMs,
    nowMs + ttlMs,
  );
  return {
    certificatePem: certificatePem(der),
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/**
 * The root kept in `stateDir` (`root-key.pem` 0600, `root.pem`), made there at the first start. An operator's own root is
 * put in place as these two files.
 */
export function loadOrMakeRoot(
  stateDir: string,
  trustDomain: string,
  ttlMs: number,
  clock: Clock,
): RootMaterial {
  const keyFile = join(stateDir, 'root-key.pem');
  const certificateFile = join(stateDir, 'root.pem');
  const privateKeyPem = readIfThere(keyFile);
  const found = readIfThere(certificateFile);
  if (privateKeyPem !== undefined && found !== undefined) {
    chmodSync(keyFile, 0o600);
    return { certificatePem: found, privateKeyPem };
  }
  if (privateKeyPem !== undefined || found !== undefined) {
    throw badRoot(
      `${stateDir} holds only one of root-key.pem and root.pem: put both there, or remove what is left for a new root`,
    );
  }
  const root = makeRoot(trustDomain, ttlMs, clock);
  writeAtomically(keyFile, root.privateKeyPem, 0o600);
  writeAtomically(certificateFile, root.certificatePem, 0o644);
  return root;
}
