import { createPublicKey } from 'node:crypto';
import { makeKeyAndRequest } from '../../../common/ca/csr.ts';
import { systemClock } from '../../../common/clock.ts';
import { DEFAULT_TRUST_DOMAIN, SYSTEM_NAMESPACE } from '../../../common/contracts.ts';
import { destinationKey, serviceHost } from '../../../common/names.ts';
import { spiffeId } from '../../../common/spiffe.ts';
import { formatNodeId } from '../../../common/wire/node-id.ts';
import { createAuthority, makeRoot } from '../../../control-plane/ca/authority.ts';
import { KINDS } from '../../../sources/kubernetes/kinds.ts';
import {
  type ClusterSize,
  fill,
  type PodPlace,
  placeOf,
  podCount,
  prepare,
  routeOf,
  SERVICE_PORT,
  serviceOf,
} from '../cluster-objects.ts';
import { BenchApi, tokenOf } from './bench-api.ts';
import type { BenchSidecar } from './messages.ts';

export interface WorldSize extends ClusterSize {
  readonly sidecars: number;
}

/** A cluster behind a fake API server, and the sidecars of some of its Pods. */
export interface World {
  readonly api: BenchApi;
  readonly size: WorldSize;
  readonly rootPem: string;
  readonly specs: readonly BenchSidecar[];
}

/** The Service that every sidecar uses. */
export const POPULAR = 0;
/** Services with a route, the popular one first. */
const ROUTES = 100;
const USED_MIN = 10;
const USED_MAX = 30;
const DAY_MS = 24 * 3_600_000;

export function destinationOf(service: number): string {
  const { namespace, name } = serviceOf(service);
  return destinationKey(serviceHost(namespace, name), SERVICE_PORT);
}

export function makeWorld(size: WorldSize): World {
  const api = new BenchApi();
  prepare(api);
  fill(api, size);
  for (let service = 0; service < ROUTES && service < size.services; service++)
    api.put(KINDS.httpRoute, routeOf(service, 1));
  const root = makeRoot(DEFAULT_TRUST_DOMAIN, 365 * DAY_MS, systemClock);
  const data = Object.fromEntries(
    Object.entries({ 'tls.crt': root.certificatePem, 'tls.key': root.privateKeyPem }).map(([file, pem]) => [
      file,
      Buffer.from(pem).toString('base64'),
    ]),
  );
  api.put(KINDS.secret, { metadata: { namespace: SYSTEM_NAMESPACE, name: 'heddle-ca' }, data });
  const authority = createAuthority(root, systemClock);
  const uids = new Map(
    api
      .objects()
      .map(({ kind, metadata }) => [`${kind} ${metadata.namespace}/${metadata.name}`, metadata.uid]),
  );
  const random = sequence(1);
  const specs = Array.from({ length: size.sidecars }, (_, index): BenchSidecar => {
    const place = placeOf(Math.floor((index * podCount(size)) / size.sidecars), size);
    const uri = spiffeId({ trustDomain: DEFAULT_TRUST_DOMAIN, ...place });
    const { privateKeyPem } = makeKeyAndRequest(uri);
    const leaf = authority.issue({ publicKey: createPublicKey(privateKeyPem), uri, ttlMs: DAY_MS });
    return {
      ...{ uri, privateKeyPem, certificateChainPem: leaf.certificatePem },
      nodeId: nodeIdOf(place),
      destinations: usedBy(size.services, random).map(destinationOf),
      token: tokenOf(place, uids.get(`Pod ${place.namespace}/${place.name}`) ?? ''),
    };
  });
  return { api, size, rootPem: root.certificatePem, specs };
}

function nodeIdOf({ name, namespace, address }: PodPlace): string {
  return formatNodeId({ pod: name, namespace, podIp: address });
}

/** The popular Service, and some others: the same in every run. */
function usedBy(services: number, random: () => number): number[] {
  const count = Math.min(services, USED_MIN + Math.floor(random() * (USED_MAX - USED_MIN + 1)));
  const used = new Set([POPULAR]);
  while (used.size < count) used.add(Math.floor(random() * services));
  return [...used];
}

/** Numbers from 0 to 1 (a linear congruential generator, the constants of Numerical Recipes). */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
