import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import forge from 'node-forge';
import type { Credentials } from '../../../proxy/stage.ts';

const { asn1 } = forge;
const HOUR_MS = 3_600_000;
const ECDSA_SHA256 = '1.2.840.10045.4.3.2';

export interface TestCa {
  readonly rootPem: string;
  /** A leaf with one URI name; `hours` of life from now, negative for one that has ended. */
  issue(uri: string, options?: { readonly hours?: number }): Credentials;
}

let version = 0;

/** A P-256 CA for tests: structure by hand, signatures by node:crypto. */
export function makeCa(name: string): TestCa {
  const root = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const now = Date.now();
  const rootPem = certificate({
    subject: name,
    issuer: name,
    publicKey: root.publicKey,
    signer: root.privateKey,
    fromMs: now - HOUR_MS,
    toMs: now + 24 * HOUR_MS,
    extensions: [basicConstraintsCa()],
  });
  return {
    rootPem,
    issue(uri, options = {}) {
      const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const toMs = now + (options.hours ?? 24) * HOUR_MS;
      const certificateChainPem = certificate({
        subject: undefined,
        issuer: name,
        publicKey: leaf.publicKey,
        signer: root.privateKey,
        fromMs: now - 2 * HOUR_MS,
        toMs,
        extensions: [uriName(uri)],
      });
      return {
        version: ++version,
        identity: uri,
        certificateChainPem,
        privateKeyPem: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
        trustBundlePem: rootPem,
        expiresAtMs: toMs,
      };
    },
  };
}

interface Parts {
  readonly subject: string | undefined;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly fromMs: number;
  readonly toMs: number;
  readonly extensions: readonly forge.asn1.Asn1[];
}

function sequence(...parts: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, parts);
}

function oid(text: string): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OID, false, asn1.oidToDer(text).getBytes());
}

function primitive(type: forge.asn1.Type, bytes: string): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, type, false, bytes);
}

function commonName(name: string | undefined): forge.asn1.Asn1 {
  if (name === undefined) return sequence();
  const attribute = sequence(oid('2.5.4.3'), primitive(asn1.Type.UTF8, name));
  return sequence(asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [attribute]));
}

function extension(id: string, critical: boolean, value: forge.asn1.Asn1): forge.asn1.Asn1 {
  const octets = primitive(asn1.Type.OCTETSTRING, asn1.toDer(value).getBytes());
  const flag = primitive(asn1.Type.BOOLEAN, '\xff');
  return critical ? sequence(oid(id), flag, octets) : sequence(oid(id), octets);
}

function basicConstraintsCa(): forge.asn1.Asn1 {
  return extension('2.5.29.19', true, sequence(primitive(asn1.Type.BOOLEAN, '\xff')));
}

function uriName(uri: string): forge.asn1.Asn1 {
  const name = asn1.create(asn1.Class.CONTEXT_SPECIFIC, 6, false, uri);
  return extension('2.5.29.17', true, sequence(name));
}

function certificate(parts: Parts): string {
  const algorithm = () => sequence(oid(ECDSA_SHA256));
  const time = (ms: number) =>
    primitive(asn1.Type.GENERALIZEDTIME, asn1.dateToGeneralizedTime(new Date(ms)) as string);
  const spki = asn1.fromDer(parts.publicKey.export({ type: 'spki', format: 'der' }).toString('binary'));
  const body = sequence(
    asn1.create(asn1.Class.CONTEXT_SPECIFIC, 0, true, [primitive(asn1.Type.INTEGER, '\x02')]),
    primitive(asn1.Type.INTEGER, `\x01${forge.random.getBytesSync(15)}`),
    algorithm(),
    commonName(parts.issuer),
    sequence(time(parts.fromMs), time(parts.toMs)),
    commonName(parts.subject),
    spki,
    asn1.create(asn1.Class.CONTEXT_SPECIFIC, 3, true, [sequence(...parts.extensions)]),
  );
  const der = Buffer.from(asn1.toDer(body).getBytes(), 'binary');
  const signature = createSign('sha256').update(der).sign(parts.signer).toString('binary');
  const whole = sequence(body, algorithm(), primitive(asn1.Type.BITSTRING, `\0${signature}`));
  return forge.pem.encode({ type: 'CERTIFICATE', body: asn1.toDer(whole).getBytes() });
}
