import type { JsonObject } from '../../common/json.ts';
import { base64, PREVIOUS_UNTIL, type RootSecret } from './root-secret.ts';

/**
 * How long everybody has had a new root until it signs: kubelet brings a ConfigMap's change into running pods within its
 * sync period and its cache's life, a minute each at most by default.
 */
export const rootSpreadMs = 150_000;
/** How long an old root is trusted at least after it signed for the last time, however short leaves live by then. */
export const previousRootMinMs = 24 * 3_600_000;
const PODS_SHOWN_MAX = 5;

/** Who trusts the bundle in force, over all replicas. */
export interface BundleSpread {
  /** Replicas that tell their proxies another bundle, or tell nothing. */
  readonly replicasBehind: readonly string[];
  readonly proxiesBehind: number;
  /** The first of them. */
  readonly podsBehind: readonly string[];
  /** Namespaces whose ConfigMap, and webhooks whose caBundle, holds another one. */
  readonly objectsBehind: readonly string[];
}

export type RotationStep =
  | { readonly kind: 'none' }
  /** `message` says who holds it up. */
  | { readonly kind: 'wait'; readonly message: string }
  /** The Secret's next state, as a merge patch. */
  | { readonly kind: 'write'; readonly what: string; readonly patch: JsonObject };

export interface RotationFacts {
  readonly root: RootSecret;
  readonly spread: BundleSpread;
  /** Since when nobody has been behind; undefined while somebody is. Milliseconds of the same clock as `nowMs`. */
  readonly spreadSinceMs: number | undefined;
  readonly nowMs: number;
  readonly wallMs: number;
  readonly leafTtlMs: number;
}

/**
 * A rotation's next step. The Secret holds all of its state: a new root is trusted first (`next.*`), signs once everybody
 * trusts it (`tls.*`), and the old one is trusted (`previous.crt`) until its last leaf is over.
 */
export function rotationStep(facts: RotationFacts): RotationStep {
  const { root, spread, spreadSinceMs, nowMs, wallMs } = facts;
  const { next, previousPem, previousUntilMs, resourceVersion } = root;
  if (previousPem !== undefined && wallMs >= previousUntilMs) {
    const metadata = { resourceVersion, annotations: { [PREVIOUS_UNTIL]: null } };
    const patch = { metadata, data: { 'previous.crt': null } };
    return { kind: 'write', what: 'the old root is no longer trusted', patch };
  }
  if (next === undefined) return { kind: 'none' };
  if (previousPem !== undefined) {
    const until = new Date(previousUntilMs).toISOString();
    return { kind: 'wait', message: `the root before the current one is trusted until ${until}` };
  }
  const behind = behindText(spread);
  if (behind !== undefined) return { kind: 'wait', message: behind };
  const restMs = rootSpreadMs - (nowMs - (spreadSinceMs ?? nowMs));
  if (restMs > 0) {
    return {
      kind: 'wait',
      message: `everybody trusts the new root; it signs in ${Math.ceil(restMs / 1000)} s, once pods' files have it too`,
    };
  }
  return { kind: 'write', what: 'the new root signs from now on', patch: switched(facts, next) };
}

function switched({ root, wallMs, leafTtlMs }: RotationFacts, next: RootSecret['issuer']): JsonObject {
  const until = new Date(wallMs + Math.max(leafTtlMs, previousRootMinMs)).toISOString();
  return {
    metadata: { resourceVersion: root.resourceVersion, annotations: { [PREVIOUS_UNTIL]: until } },
    data: {
      'tls.crt': base64(next.certificatePem),
      'tls.key': base64(next.privateKeyPem),
      'next.crt': null,
      'next.key': null,
      'previous.crt': base64(root.issuer.certificatePem),
    },
  };
}

function behindText({
  replicasBehind,
  proxiesBehind,
  podsBehind,
  objectsBehind,
}: BundleSpread): string | undefined {
  const parts: string[] = [];
  const some = (names: readonly string[]) => names.slice(0, PODS_SHOWN_MAX).join(', ');
  if (replicasBehind.length > 0)
    parts.push(`${replicasBehind.length} replicas of the control plane (${some(replicasBehind)})`);
  if (proxiesBehind > 0) parts.push(`${proxiesBehind} proxies (${some(podsBehind)})`);
  if (objectsBehind.length > 0) parts.push(`${objectsBehind.length} objects (${some(objectsBehind)})`);
  return parts.length === 0 ? undefined : `the new root waits for ${parts.join(' and ')} to trust it`;
}
