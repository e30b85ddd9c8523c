import type { RequestCertificate } from '../../common/ca/client.ts';
import type { Clock } from '../../common/clock.ts';
import { createAuthority, makeRoot } from '../../control-plane/ca/authority.ts';
import { checkCsr } from '../../control-plane/ca/csr.ts';

const DAY_MS = 24 * 3_600_000;

/** The control plane's own CA without a control plane: what a test gets certificates from. */
export interface MeshCa {
  readonly rootPem: string;
  /** Signs for `uri` only, for `ttlMs`. */
  requester(uri: string, ttlMs: number, dns?: readonly string[]): RequestCertificate;
}

export function meshCa(clock: Clock): MeshCa {
  const root = makeRoot('cluster.local', 3_650 * DAY_MS, clock);
  const authority = createAuthority(root, clock);
  return {
    rootPem: root.certificatePem,
    requester: (uri, ttlMs, dns = []) => {
      return async (csrPem) => {
        const key = checkCsr(csrPem, uri);
        if (!key.ok) throw key.error;
        const leaf = authority.issue({ publicKey: key.value, uri, dns, ttlMs });
        return { certificateChainPem: leaf.certificatePem, rootsPem: root.certificatePem };
      };
    },
  };
}
