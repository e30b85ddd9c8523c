import tls from 'node:tls';
import { ALPN } from '../../common/contracts.ts';
import type { ByteStream } from '../../common/net.ts';
import type { Credentials } from '../stage.ts';
import type { ClientContexts } from './contexts.ts';
import { isCurrent, spiffeIdOf } from './names.ts';
import { carriedBy } from './reset.ts';

export interface MeshTlsTarget {
  /** SPIFFE IDs that the peer may present. */
  readonly identities: readonly string[];
  /** What is spoken inside. */
  readonly protocol: typeof ALPN.http1 | typeof ALPN.opaque;
}

export type TlsOutcome =
  | { readonly ok: true; readonly stream: tls.TLSSocket; readonly peer: string }
  | { readonly ok: false; readonly identity: boolean; readonly message: string };

/**
 * Makes a connected stream a mesh mTLS connection and checks who answers: the chain against the trust bundle, the one
 * SPIFFE ID against those the endpoint may have, the protocol against the one asked for. Sessions are never resumed: on a
 * resumed one Node checks neither name nor time. Calls `done` once.
 */
export function meshTlsConnect(
  stream: ByteStream,
  credentials: Credentials,
  contexts: ClientContexts,
  target: MeshTlsTarget,
  wallMs: () => number,
  done: (outcome: TlsOutcome) => void,
): void {
  let settled = false;
  const settle = (outcome: TlsOutcome) => {
    if (settled) return;
    settled = true;
    if (!outcome.ok) secure.destroy();
    done(outcome);
  };
  const secure = tls.connect({
    socket: stream,
    secureContext: contexts.for(credentials),
    ALPNProtocols: [ALPN.marker, target.protocol],
    rejectUnauthorized: true,
    allowHalfOpen: true,
    // The name is the SPIFFE ID, which is checked below, after the handshake, in one place.
    checkServerIdentity: () => undefined,
  } as tls.ConnectionOptions);
  carriedBy(secure, stream);
  secure.once('secureConnect', () => settle(verify(secure, target, wallMs())));
  secure.once('error', (error: NodeJS.ErrnoException) => {
    // The chain did not verify: somebody else answers there.
    const identity = secure.authorizationError !== null && secure.authorizationError !== undefined;
    settle({ ok: false, identity, message: error.message });
  });
  secure.once('close', () =>
    settle({ ok: false, identity: false, message: 'closed during the TLS handshake' }),
  );
}

function verify(secure: tls.TLSSocket, target: MeshTlsTarget, wallMs: number): TlsOutcome {
  const refuse = (message: string): TlsOutcome => ({ ok: false, identity: true, message });
  const certificate = secure.getPeerX509Certificate();
  if (!secure.authorized || certificate === undefined)
    return refuse('the peer has no certificate of the mesh');
  if (!isCurrent(certificate, wallMs)) return refuse('the certificate of the peer is out of its time');
  const peer = spiffeIdOf(certificate);
  if (peer === undefined || !target.identities.includes(peer)) {
    return refuse(`the peer is ${peer ?? 'not a workload'}, expected ${target.identities.join(' or ')}`);
  }
  if (secure.alpnProtocol !== target.protocol) {
    return { ok: false, identity: false, message: `the peer does not speak ${target.protocol} to the mesh` };
  }
  return { ok: true, stream: secure, peer };
}
