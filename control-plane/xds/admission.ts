import type { PeerCertificate } from 'node:tls';
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
  | { readonly kind: 'admitted'; readonly node: AdmittedNode }
  | { readonly kind: 'refused'; readonly reason: string }
  /** The pod isn't in the mesh; it may be about to be. */
  | { readonly kind: 'unknown-pod'; readonly reason: string };

/**
 * Admits a stream whose client certificate (verified by TLS) is that of the very pod its node id names: the id chooses
 * what is sent, so it must not be anybody's word.
 */
export function admit(node: Node | undefined, peer: PeerCertificate | undefined, mesh: Mesh): Admission {
  const refused = (reason: string): Admission => ({ kind: 'refused', reason });
  if (peer === undefined) return refused('a client certificate of this mesh is needed');
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
  return {
    kind: 'admitted',
    node: {
      nodeId: node.id,
      identity: spiffeId(identity),
      client: { namespace: parsed.namespace, pod: parsed.pod, bind: bindOf(node) },
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

/** A stock Envoy may say in its node metadata where its outbound listener binds. */
function bindOf(node: Node): Client['bind'] {
  const metadata: unknown = node.metadata?.['heddle.dev'];
  if (typeof metadata !== 'object' || metadata === null) return {};
  const { outboundAddress, outboundPort } = metadata as { outboundAddress?: unknown; outboundPort?: unknown };
  return {
    ...(typeof outboundAddress === 'string' ? { address: outboundAddress } : {}),
    ...(typeof outboundPort === 'number' &&
    Number.isInteger(outboundPort) &&
    outboundPort > 0 &&
    outboundPort < 65_536
      ? { port: outboundPort }
      : {}),
  };
}
