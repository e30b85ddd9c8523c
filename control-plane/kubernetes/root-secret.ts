import { type Clock, sleep } from '../../common/clock.ts';
import { TRUST_BUNDLE_CONFIG_MAP } from '../../common/contracts.ts';
import { HeddleError, messageOf } from '../../common/errors.ts';
import { isJsonObject } from '../../common/json.ts';
import type { Logger } from '../../common/log.ts';
import type { KubeObject } from '../../model/objects.ts';
import { type ObjectRef, orMissing } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import { createAuthority, makeRoot, normalPem, type RootMaterial } from '../ca/authority.ts';
import { type ClusterApi, failureOf, isOwn, OWN_LABELS } from './api.ts';
import { BUNDLE_KEY } from './trust-bundles.ts';

/** How often an API server that is away is asked at the start: nothing can be served without a root. */
export const rootRetryMs = 2_000;

/** Says until when a root that signs no more is trusted. RFC 3339. */
export const PREVIOUS_UNTIL = 'heddle.dev/previous-root-until';

/** What the Secret holds. */
export interface RootSecret {
  readonly resourceVersion: string;
  /** `tls.crt`, `tls.key`: signs. */
  readonly issuer: RootMaterial;
  /** `next.crt`, `next.key`: is to sign once everybody trusts it. */
  readonly next: RootMaterial | undefined;
  /** `previous.crt`: signed before; leaves of it live on for a while. */
  readonly previousPem: string | undefined;
  /** Milliseconds since the Unix epoch. */
  readonly previousUntilMs: number;
}

export interface RootSecretOptions {
  readonly api: ClusterApi;
  readonly ref: Required<ObjectRef>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly trustDomain: string;
  readonly rootTtlMs: number;
}

/**
 * The root that every replica signs with, made where there is none: whoever comes second takes the first one's. Waits for
 * the API server. Rejects with `bad-root` where what the Secret holds can't be used; nothing is written over then.
 */
export async function loadOrMakeRootSecret(options: RootSecretOptions): Promise<RootSecret> {
  const { api, ref, clock, log } = options;
  for (;;) {
    try {
      const found = await orMissing(api.get(KINDS.secret, ref));
      const root = readRootSecret(found ?? (await make(options)), clock);
      // Refuses what is unsound before anybody is certified by it.
      createAuthority(root.issuer, clock, besidesOf(root));
      await refuseUntrusted(root, options);
      return root;
    } catch (thrown) {
      if (thrown instanceof HeddleError && thrown.code === 'bad-root') throw inSecret(ref, thrown);
      const failure = failureOf(thrown);
      if (failure === 'refused') throw thrown;
      if (failure !== 'exists') {
        log.warn('the root can not be read yet', { secret: nameOf(ref), error: messageOf(thrown) });
        await sleep(clock, rootRetryMs);
      }
    }
  }
}

/**
 * Pods that run trust the bundle that was last given out: certificates of a root that isn't in it would cut them off from
 * each other and from the control plane.
 */
async function refuseUntrusted(root: RootSecret, { api, ref }: RootSecretOptions): Promise<void> {
  const { namespace } = ref;
  const found = await orMissing(api.get(KINDS.configMap, { namespace, name: TRUST_BUNDLE_CONFIG_MAP }));
  const bundle =
    found !== undefined && isOwn(found) && isJsonObject(found.data) ? found.data[BUNDLE_KEY] : undefined;
  if (typeof bundle !== 'string' || bundle.includes(normalPem(root.issuer.certificatePem))) return;
  throw badRoot(
    `running pods don't trust it, as ConfigMap ${namespace}/${TRUST_BUNDLE_CONFIG_MAP} holds another root. Restore the Secret; ` +
      'or, where no pod of the mesh runs any more, delete that ConfigMap',
  );
}

async function make({
  api,
  ref,
  clock,
  log,
  trustDomain,
  rootTtlMs,
}: RootSecretOptions): Promise<KubeObject> {
  const root = makeRoot(trustDomain, rootTtlMs, clock);
  const made = await api.create(KINDS.secret, {
    ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls' },
    metadata: { ...ref, labels: OWN_LABELS },
    data: { 'tls.crt': base64(root.certificatePem), 'tls.key': base64(root.privateKeyPem) },
  });
  log.info('a new root was made', { secret: nameOf(ref) });
  return made;
}

/** Throws `bad-root` where it lacks a part. Whether the parts are sound is for `createAuthority` to say. */
export function readRootSecret(secret: KubeObject, clock: Clock): RootSecret {
  const issuer = pairOf(secret, 'tls');
  if (issuer === undefined) throw badRoot('tls.crt and tls.key are missing');
  const next = pairOf(secret, 'next');
  // What can't be read later would otherwise be found out only when it is to sign.
  if (next !== undefined) createAuthority(next, clock);
  const until = Date.parse(secret.metadata.annotations?.[PREVIOUS_UNTIL] ?? '');
  const previousPem = textOf(secret, 'previous.crt');
  return {
    resourceVersion: secret.metadata.resourceVersion ?? '',
    ...{ issuer, next, previousPem },
    previousUntilMs: Number.isNaN(until) ? 0 : until,
  };
}

/** What is to be trusted beside the root that signs. */
export function besidesOf({ next, previousPem }: RootSecret): readonly string[] {
  return [next?.certificatePem, previousPem].filter((pem) => pem !== undefined).map(normalPem);
}

function pairOf(secret: KubeObject, prefix: 'tls' | 'next'): RootMaterial | undefined {
  const certificatePem = textOf(secret, `${prefix}.crt`);
  const privateKeyPem = textOf(secret, `${prefix}.key`);
  if (certificatePem === undefined && privateKeyPem === undefined) return undefined;
  if (certificatePem === undefined || privateKeyPem === undefined) {
    throw badRoot(`it holds only one of ${prefix}.crt and ${prefix}.key`);
  }
  return { certificatePem, privateKeyPem };
}

function textOf(secret: KubeObject, key: string): string | undefined {
  const value = isJsonObject(secret.data) ? secret.data[key] : undefined;
  return typeof value === 'string' && value !== ''
    ? Buffer.from(value, 'base64').toString('utf8')
    : undefined;
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

export function nameOf({ namespace, name }: Required<ObjectRef>): string {
  return `${namespace}/${name}`;
}

function badRoot(message: string): HeddleError {
  return new HeddleError('bad-root', message);
}

function inSecret(ref: Required<ObjectRef>, { message }: HeddleError): HeddleError {
  return badRoot(
    `the root in Secret ${nameOf(ref)} (a self-signed P-256 root as tls.crt and tls.key) can't be used: ${message}`,
  );
}
