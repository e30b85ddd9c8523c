import { isIP } from 'node:net';
import type { PeerCertificate } from 'node:tls';
import { METADATA_KEY } from '../../common/contracts.ts';
import type { Result } from '../../common/errors.ts';
import type { Node } from '../../common/gen/envoy/config/core/v3/base.ts';
import { parseSpiffeId, spiffeId } from '../../common/spiffe.ts';
import { parseNodeId } from '../../common/wire/node-id.ts';
import type { Mesh } from '../../model/mesh.ts';
import type { Client } from '../translate/translator.ts';

/** Who is at the other end of a stream. */
export interface AdmittedNode {
  readonly nodeId: string;
  readonly identity: string;
  readonly client: Client;
}

export type Admission =
  /** `expiresAtMs` (since the Unix epoch): when its certificate ends, and with it what it was let in by. */
  | { readonly kind: 'admitted'; readonly node: AdmittedNode; readonly expiresAtMs: number }
  | { readonly kind: 'refused'; readonly reason: string }
  /** The pod isn't in the mesh; it may be about to be. */
  | { readonly kind: 'unknown-pod'; readonly reason: string };

/**
 * Admits a stream whose client certificate (verified by TLS) is that of the very pod its node id names: the id chooses
 * what is sent, so it must not be anybody's word.
 */
export function admit(node: Node | undefined, peer: PeerCertificate, mesh: Mesh, wallMs: number): Admission {
  const refused = (reason: string): Admission => ({ kind: 'refused', reason });
  // TLS looks at the time in its handshake only, and a resumed session has none.
  const expiresAtMs = Date.parse(peer.valid_to);
  if (!(expiresAtMs > wallMs)) return refused('the client certificate has expired: connect with a new one');
  const uris = uriNames(peer.subjectaltname);
  const identity = uris.length === 1 ? parseSpiffeId(uris[0] ?? '') : undefined;
  if (identity === undefined) return refused('the client certificate holds no SPIFFE ID of a workload');
  if (node === undefined) return refused('the first request must name the node');
  const parsed = parseNodeId(node.id);
  if (parsed === undefined) {
    return refused('the node id must be sidecar~<pod-ip>~<pod>.<namespace>~<namespace>.svc.cluster.local');
  }
  if (identity.trustDomain !== mesh.settings.trustDomain)
    return refused('the client is of another trust domain');
  if (identity.namespace !== parsed.namespace)
    return refused(`${spiffeId(identity)} may not act for ${node.id}`);
  const pod = `${parsed.namespace}/${parsed.pod}`;
  const workload = mesh.workloads.get(pod);
  if (workload === undefined) return { kind: 'unknown-pod', reason: `pod ${pod} is not known` };
  if (workload.serviceAccount !== identity.serviceAccount) {
    return refused(
      `${spiffeId(identity)} may not act for pod ${pod} of service account ${workload.serviceAccount}`,
    );
  }
  const bind = bindOf(node);
  if (!bind.ok) return refused(bind.error);
  return {
    kind: 'admitted',
    expiresAtMs,
    node: {
      nodeId: node.id,
      identity: spiffeId(identity),
      client: { namespace: parsed.namespace, pod: parsed.pod, bind: bind.value },
    },
  };
}

/** Node's text form of the names; quoted entries hold characters that could hide another one, and are not taken. */
function uriNames(names: string | undefined): string[] {
  return (names ?? '')
    .split(', ')
    .filter((name) => name.startsWith('URI:'))
    .map((name) => name.slice('URI:'.length));
}

/** A stock Envoy may say in its node metadata where its outbound listener binds; port 0 takes any free one. */
function bindOf(node: Node): Result<Client['bind'], string> {
  const metadata: unknown = node.metadata?.[METADATA_KEY] ?? {};
  const wrong = (what: string) => ({ ok: false as const, error: `node metadata "${METADATA_KEY}": ${what}` });
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    return wrong('must be an object');
  }
  const { outboundAddress, outboundPort, ...others }: { [name: string]: unknown } = { ...metadata };
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) return wrong(`${unknown.slice(0, 64)} is not known`);
  const bind: { address?: string; port?: number } = {};
  if (outboundAddress !== undefined) {
    if (typeof outboundAddress !== 'string' || isIP(outboundAddress) === 0) {
      return wrong('outboundAddress must be an IP address');
    }
    bind.address = outboundAddress;
  }
  if (outboundPort !== undefined) {
    if (typeof outboundPort !== 'number' || !isPort(outboundPort)) {
      return wrong('outboundPort must be a port number, or 0 for a free one');
    }
    bind.port = outboundPort;
  }
  return { ok: true, value: bind };
}

function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 65_535;
}
