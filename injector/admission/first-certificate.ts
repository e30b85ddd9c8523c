import { generateKeyPairSync, sign } from 'node:crypto';
import forge from 'node-forge';
import {
  bitString,
  commonName,
  der,
  ecdsaSha256,
  parseDer,
  pem,
  primitive,
  sequence,
  time,
} from '../../common/wire/der.ts';

interface KeyAndCertificate {
  readonly privateKeyPem: string;
  readonly certificatePem: string;
}

/** How far clocks may differ between the node and the pod. */
const skewMs = 3_600_000;
/** Nobody trusts it, so that its end matters to nobody either. */
const lifeMs = 10 * 365 * 24 * 3_600_000;

/**
 * A self-signed certificate for the time before the mesh's own. Kubelet doesn't check whose certificate answers its HTTPS
 * probes, so that it hears why the webhook isn't ready; the API server trusts the mesh's roots only and asks nothing.
 */
export function firstCertificate(nowMs: number): KeyAndCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = commonName('heddle-injector without a certificate of the mesh');
  const toBeSigned = sequence(
    primitive(forge.asn1.Type.INTEGER, '\x01'),
    ecdsaSha256(),
    name,
    sequence(time(nowMs - skewMs), time(nowMs + lifeMs)),
    name,
    parseDer(publicKey.export({ type: 'spki', format: 'der' })),
  );
  const signature = sign('sha256', der(toBeSigned), { key: privateKey, dsaEncoding: 'der' });
  const certificate = sequence(toBeSigned, ecdsaSha256(), bitString(signature.toString('binary')));
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificatePem: pem('CERTIFICATE', der(certificate)),
  };
}
