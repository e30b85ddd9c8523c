import type { PeerCertificate } from 'node:tls';
import { PORTS } from '../common/contracts.ts';
import { spiffeId } from '../common/spiffe.ts';
import type { Mesh } from '../model/mesh.ts';

export interface SidecarAdminOptions {
  readonly mesh: () => Mesh;
  readonly trustBundlePem: () => string;
  /** The control plane's own certificate: sidecars answer nobody else. */
  readonly own: () => { readonly certificatePem: string; readonly privateKeyPem: string };
}

/** The read-only admin of one sidecar, and how it is known to be that one. */
export interface SidecarAdmin {
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly tls: {
    readonly minVersion: 'TLSv1.3';
    /** The chain is verified by TLS before this runs; a SPIFFE ID takes the place of the host name. */
    checkServerIdentity(host: string, certificate: PeerCertificate): Error | undefined;
  };
}

/** Where the sidecar of a pod (`namespace/name`) answers the control plane; undefined where the mesh has no such sidecar. */
export function sidecarAdmin(pod: string, options: SidecarAdminOptions): SidecarAdmin | undefined {
  const mesh = options.mesh();
  const workload = mesh.workloads.get(pod);
  const host = workload?.ips[0];
  if (workload === undefined || host === undefined || !workload.meshed) return undefined;
  const { namespace, serviceAccount } = workload;
  const { trustDomain } = mesh.settings;
  const expected = spiffeId({ trustDomain, namespace, serviceAccount });
  const { certificatePem, privateKeyPem } = options.own();
  return {
    ...{ host, port: PORTS.proxyAdminForControlPlane },
    ...{ ca: options.trustBundlePem(), cert: certificatePem, key: privateKeyPem },
    tls: {
      minVersion: 'TLSv1.3',
      checkServerIdentity: (_host, certificate) =>
        certificate.subjectaltname === `URI:${expected}`
          ? undefined
          : new Error(`the sidecar must present ${expected}`),
    },
  };
}
