import type { X509Certificate } from 'node:crypto';
import { parseSpiffeId } from '../../common/spiffe.ts';

/**
 * The SPIFFE ID of a certificate: its one URI name (SPIFFE X.509-SVID, section 2: exactly one URI SAN). Undefined where
 * there is none, more than one, or one that isn't a workload's.
 */
export function spiffeIdOf(certificate: X509Certificate): string | undefined {
  const names = certificate.subjectAltName;
  if (names === undefined) return undefined;
  // Names with special characters come JSON-quoted; a SPIFFE ID has none, so such a list is not taken apart further.
  if (names.includes('"')) return undefined;
  const uris = names.split(', ').filter((name) => name.startsWith('URI:'));
  const uri = uris[0]?.slice('URI:'.length);
  if (uris.length !== 1 || uri === undefined || parseSpiffeId(uri) === undefined) return undefined;
  return uri;
}

/** Whether a certificate is within its time at `wallMs`. */
export function isCurrent(certificate: X509Certificate, wallMs: number): boolean {
  return certificate.validFromDate.getTime() <= wallMs && wallMs <= certificate.validToDate.getTime();
}
