import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import forge from 'node-forge';
import {
  bitString,
  der,
  ecdsaSha256,
  extension,
  OID,
  oid,
  parseDer,
  pem,
  primitive,
  sequence,
  set,
  tagged,
} from '../wire/der.ts';

/** A new key, with the request that has it certified. */
export interface KeyAndRequest {
  readonly privateKeyPem: string;
  readonly csrPem: string;
}

/** Makes a P-256 key in memory and a PKCS #10 request (RFC 2986) for one SPIFFE ID. The key never leaves the process. */
export function makeKeyAndRequest(uri: string): KeyAndRequest {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    csrPem: pem('CERTIFICATE REQUEST', buildRequest(spki, privateKey, uri)),
  };
}

function buildRequest(spki: Buffer, privateKey: KeyObject, uri: string): Buffer {
  const san = extension(OID.subjectAltName, true, sequence(tagged(6, uri)));
  const info = sequence(
    primitive(forge.asn1.Type.INTEGER, '\0'),
    sequence(),
    parseDer(spki),
    tagged(0, [sequence(oid(OID.extensionRequest), set(sequence(san)))]),
  );
  const signature = sign('sha256', der(info), { key: privateKey, dsaEncoding: 'der' });
  return der(sequence(info, ecdsaSha256(), bitString(signature.toString('binary'))));
}
