import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { HeddleError } from '../../common/errors.ts';
import { type Asn1, sequence } from '../../common/wire/der.ts';
import {
  buildCertificate,
  certificatePem,
  keyIdentifier,
  leafExtensions,
  selfSignedRoot,
  spki,
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

/** Throws `HeddleError` where certificate and key don't make a P-256 root that may sign. */
export function createAuthority(root: RootMaterial, clock: Clock): CertificateAuthority {
  const certificate = new X509Certificate(root.certificatePem);
  const key = createPrivateKey(root.privateKeyPem);
  const publicKey = createPublicKey(key);
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new HeddleError('bad-root', 'the root key must be an ECDSA key on P-256');
  }
  if (!spki(publicKey).equals(spki(certificate.publicKey))) {
    throw new HeddleError('bad-root', 'the root key does not belong to the root certificate');
  }
  if (!certificate.ca) throw new HeddleError('bad-root', 'the root certificate may not sign certificates');
  const rootEndsMs = Date.parse(certificate.validTo);
  if (rootEndsMs <= clock.wallMs()) throw new HeddleError('bad-root', 'the root certificate has expired');
  const issuerName: Asn1 = subjectOf(certificate);
  const issuerKeyId = keyIdentifier(publicKey);
  const bundle = certificate.toString();
  return {
    trustBundlePem: () => bundle,
    issue(request) {
      const nowMs = clock.wallMs();
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
export async function loadOrMakeRoot(
  stateDir: string,
  trustDomain: string,
  ttlMs: number,
  clock: Clock,
): Promise<RootMaterial> {
  await mkdir(stateDir, { recursive: true });
  const keyFile = join(stateDir, 'root-key.pem');
  const certificateFile = join(stateDir, 'root.pem');
  const privateKeyPem = await readIfThere(keyFile);
  const found = await readIfThere(certificateFile);
  if (privateKeyPem !== undefined && found !== undefined) {
    await chmod(keyFile, 0o600);
    return { certificatePem: found, privateKeyPem };
  }
  if (privateKeyPem !== undefined || found !== undefined) {
    throw new HeddleError(
      'bad-root',
      `${stateDir} holds only one of root-key.pem and root.pem: put both there, or remove what is left for a new root`,
    );
  }
  const root = makeRoot(trustDomain, ttlMs, clock);
  await writeWhole(keyFile, root.privateKeyPem, 0o600);
  await writeWhole(certificateFile, root.certificatePem, 0o644);
  return root;
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** Never half a file: written beside it and renamed. */
async function writeWhole(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, text, { mode });
  await rename(temporary, file);
}
