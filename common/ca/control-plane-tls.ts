import type { PeerCertificate } from 'node:tls';
import { type ChannelCredentials, type ChannelOptions, credentials } from '@grpc/grpc-js';
import { SYSTEM_NAMESPACE } from '../contracts.ts';
import { spiffeId } from '../spiffe.ts';

/** Received configuration may be large: a mesh's biggest list of endpoints in one message. */
const responseBytesMax = 64 * 1024 * 1024;

/** The control plane's identity: any other certificate of the mesh is refused, wherever it answers. */
export function controlPlaneIdentity(trustDomain: string): string {
  return spiffeId({ trustDomain, namespace: SYSTEM_NAMESPACE, serviceAccount: 'heddle-control-plane' });
}

/** Whether a certificate, whose chain TLS has verified, is the control plane's: of one URI, which is its identity. */
export function isControlPlane(
  certificate: Pick<PeerCertificate, 'subjectaltname'>,
  trustDomain: string,
): boolean {
  const names = (certificate.subjectaltname ?? '').split(', ');
  const uris = names.filter((name) => name.startsWith('URI:'));
  return uris.length === 1 && uris[0] === `URI:${controlPlaneIdentity(trustDomain)}`;
}

/** TLS to the control plane: roots pinned, its SPIFFE ID checked; with a client certificate once there is one. */
export function controlPlaneCredentials(
  trustDomain: string,
  rootsPem: string,
  own?: { readonly certificateChainPem: string; readonly privateKeyPem: string },
): ChannelCredentials {
  return credentials.createSsl(
    Buffer.from(rootsPem),
    own === undefined ? null : Buffer.from(own.privateKeyPem),
    own === undefined ? null : Buffer.from(own.certificateChainPem),
    {
      // The chain is verified by TLS before this runs; a SPIFFE ID takes the place of the host name.
      checkServerIdentity(_host, certificate) {
        return isControlPlane(certificate, trustDomain)
          ? undefined
          : new Error(`the control plane must present ${controlPlaneIdentity(trustDomain)}`);
      },
    },
  );
}

/** What the control plane is called in TLS: its address is often an IP, which no server name may be (RFC 6066, section 3). */
const SERVER_NAME = `heddle-control-plane.${SYSTEM_NAMESPACE}.svc`;

export const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.ssl_target_name_override': SERVER_NAME,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.max_receive_message_length': responseBytesMax,
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
};
