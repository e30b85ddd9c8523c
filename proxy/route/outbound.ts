import net from 'node:net';
import { ALPN, HEADERS } from '../../common/contracts.ts';
import type { MeshFailure } from '../../common/errors.ts';
import { messageOf } from '../../common/errors.ts';
import { statusOfReason } from '../../common/reasons.ts';
import type { Answer, Decision, Forward } from '../../model/decision-types.ts';
import type { Cluster, Endpoint } from '../../model/snapshot.ts';
import type { EngineLimits } from '../codec/limits.ts';
import type { RequestHead } from '../codec/request-head.ts';
import type { Forwarding } from '../http/exchange-stages.ts';
import type { RequestMarks } from '../http/heads.ts';
import type { MirrorStages } from '../http/mirrors.ts';
import type { ClientInfo } from '../http/server-types.ts';
import type { PoolTarget } from '../pool/pool.ts';
import type { StackContext } from '../stack-context.ts';
import type { AttemptScope, Credentials, FoundDestination, RequestScope } from '../stage.ts';
import type { FailedAttempt } from '../upstream/connect.ts';
import { plainForwarding, plainTarget } from './plain.ts';

/** An address as the client means it: what it dialled, or what its request names. */
export interface Meant {
  readonly host: string;
  readonly port: number;
}

/** Decisions that end a request at the mesh: of a request any, of a connection no redirect. */
type OwnAnswer = Exclude<Decision, Forward>;
type Decide<Own extends OwnAnswer> = (key: string) => Forward | Own;
type Routed<Own> = Forwarding | Answer | Own;

/**
 * Destination, then decision: a destination of the mesh is decided about, one outside passes or is refused as the mesh's
 * settings say, and one that can't be told apart yet is refused rather than sent in plaintext out of ignorance.
 */
export function routeOutbound<Own extends OwnAnswer>(
  context: StackContext,
  meant: Meant,
  decide: Decide<Own>,
): Routed<Own> | Promise<Routed<Own>> {
  const loop = context.isOwnAddress(meant.host, meant.port);
  if (loop) return answer('unknown-destination', `${meant.host}:${meant.port} is this sidecar itself`);
  const found = context.deps.config.find(meant.host, meant.port);
  if (found instanceof Promise) {
    return found.then(
      (later) => routeFound(context, meant, later, decide),
      (thrown: unknown) => answer('config-unavailable', messageOf(thrown)),
    );
  }
  return routeFound(context, meant, found, decide);
}

function routeFound<Own extends OwnAnswer>(
  context: StackContext,
  meant: Meant,
  found: FoundDestination,
  decide: Decide<Own>,
): Routed<Own> | Promise<Routed<Own>> {
  switch (found.kind) {
    case 'mesh':
      return routingOf(decide(found.key));
    case 'unavailable':
      return answer(
        'config-unavailable',
        `the control plane has not said yet what ${meant.host}:${meant.port} is; try again, and check it with "heddle check"`,
      );
    case 'external':
      return routeExternal(context, meant, decide);
  }
}

/** What an exchange needs of a decision. */
function routingOf<Own extends OwnAnswer>(decision: Forward | Own): Forwarding | Own {
  if (decision.kind !== 'forward') return decision;
  return {
    kind: 'forward',
    decision,
    endpoint: decision.endpoint,
    host: decision.endpoint.address,
    port: decision.endpoint.port,
    timeouts: decision.timeouts,
    bodyBufferBytesMax: decision.policy.retry.attempts > 0 ? decision.policy.retry.bodyBufferBytesMax : 0,
    delayMs: decision.delayMs,
  };
}

/** A name may stand for an address of the mesh, so that what it resolves to is asked about like any other address. */
function routeExternal<Own extends OwnAnswer>(
  context: StackContext,
  meant: Meant,
  decide: Decide<Own>,
): Routed<Own> | Promise<Routed<Own>> {
  const { config, resolver } = context.deps;
  if (config.inbound()?.settings.outboundUnknown === 'DENY') {
    return answer(
      'unknown-destination',
      `${meant.host}:${meant.port} is not in the mesh, and the mesh's setting outbound.unknown is DENY`,
    );
  }
  if (net.isIP(meant.host) !== 0) return plainForwarding(meant.host, meant.port, context.limits);
  return resolver.resolve(meant.host).then(
    (address) => routeOutbound(context, { host: address, port: meant.port }, decide),
    (thrown: unknown) =>
      answer(
        'unknown-destination',
        `no Service of the mesh has ${meant.host}:${meant.port}, and the name can't be resolved: ${messageOf(thrown)}`,
      ),
  );
}

/** A request to the sidecar as an HTTP proxy that names no host. */
export function noDestination(): Answer {
  return answer('bad-request', 'the request names no host to send it to');
}

function answer(code: MeshFailure['code'], message: string): Answer {
  return {
    kind: 'answer',
    status: statusOfReason(code),
    failure: { code, source: 'mesh', retrySafety: 'never', message },
    rule: undefined,
    cluster: undefined,
    delayMs: 0,
  };
}

/** What a target was made of. */
interface MadeTarget {
  readonly cluster: Cluster;
  readonly credentials: Credentials | undefined;
  readonly protocol: MeshProtocol;
  readonly connectMs: number;
  readonly limits: EngineLimits;
  readonly target: PoolTarget;
}

type MeshProtocol = typeof ALPN.http1 | typeof ALPN.opaque;

/** Made at the first request to an endpoint, and again where anything that it is made of has changed. */
const made = new WeakMap<Endpoint, MadeTarget>();

/** The connection that an endpoint takes: mesh mTLS where it speaks it, with the credentials of this moment. */
export function outboundTarget(
  context: StackContext,
  forwarding: Forwarding,
  endpoint: Endpoint | undefined,
  protocol: MeshProtocol,
): PoolTarget | FailedAttempt {
  const { decision } = forwarding;
  if (decision === undefined || endpoint === undefined) return plainTarget(forwarding, context.limits);
  const { cluster, timeouts } = decision;
  return meshTarget(context, cluster, endpoint, timeouts.connectMs, protocol);
}

/** A copy of a request, once `decide` has named its mirror's endpoint: limits and breaker → pool → upstream. */
export function mirrorStages(context: StackContext): MirrorStages {
  const { pool, deadlines, limits, deps } = context;
  return {
    ...{ pool, deadlines, limits },
    admit: ({ cluster, endpoint }) => deps.policy.begin(cluster, endpoint, false),
    target: ({ cluster, endpoint }) => meshTarget(context, cluster, endpoint, 0, ALPN.http1),
    breakerState: ({ name }) => deps.policy.breaker(name),
    marks: (head, client, scope, attempt) =>
      outboundMarks(head, client, scope, attempt, 1, deps.podAddresses?.[0]),
  };
}

/** `ruleConnectMs` of 0 leaves it to the cluster's policy. */
function meshTarget(
  context: StackContext,
  cluster: Cluster,
  endpoint: Endpoint,
  ruleConnectMs: number,
  protocol: MeshProtocol,
): PoolTarget | FailedAttempt {
  const { limits } = context;
  // A pod that calls its own Service may be led to itself, where the app answers and not its sidecar.
  const mtls = endpoint.mtls && !context.isOwnApp(endpoint.address, endpoint.port);
  const credentials = mtls ? context.deps.identity.current() : undefined;
  if (mtls && credentials === undefined) return noCredentials();
  const connectMs = ruleConnectMs > 0 ? ruleConnectMs : cluster.policy.connectMs;
  const known = made.get(endpoint);
  if (
    known !== undefined &&
    known.cluster === cluster &&
    known.credentials === credentials &&
    known.protocol === protocol &&
    known.connectMs === connectMs &&
    known.limits === limits
  ) {
    return known.target;
  }
  const target = makeTarget(cluster, endpoint, credentials, protocol, connectMs, limits);
  made.set(endpoint, { cluster, credentials, protocol, connectMs, limits, target });
  return target;
}

function makeTarget(
  cluster: Cluster,
  endpoint: Endpoint,
  credentials: Credentials | undefined,
  protocol: MeshProtocol,
  connectMs: number,
  limits: EngineLimits,
): PoolTarget {
  const { policy } = cluster;
  return {
    group: cluster.name,
    key: poolKey(endpoint, credentials?.version),
    host: endpoint.address,
    port: endpoint.port,
    tls: credentials === undefined ? undefined : { credentials, identities: endpoint.identities, protocol },
    connectMs,
    connectionsMax: policy.limits.maxConnections,
    pendingMax: policy.limits.maxPendingRequests,
    idleMs: policy.idleMs > 0 ? policy.idleMs : limits.keepAliveIdleMs,
  };
}

/** Connections are shared only by requests that would check the same peer with the same credentials. */
function poolKey(endpoint: Endpoint, version: number | undefined): string {
  if (version === undefined) return `${endpoint.key}|plain`;
  return `${endpoint.key}|v${version}|${endpoint.identities.length === 1 ? endpoint.identities[0] : endpoint.identities.join(',')}`;
}

function noCredentials(): FailedAttempt {
  return {
    failure: {
      code: 'config-unavailable',
      source: 'mesh',
      retrySafety: 'always',
      message: 'this sidecar has no certificate yet, and the destination takes mTLS only',
    },
    condition: 'other',
    refused: false,
  };
}

/** What goes upstream about this request: the app is the client, and its own word about others before it is kept. */
export function outboundMarks(
  head: RequestHead,
  client: ClientInfo,
  scope: RequestScope,
  attempt: AttemptScope,
  number: number,
  podAddress: string | undefined,
): RequestMarks {
  const source = podAddress ?? client.remoteAddress;
  const before = head.fields.get(HEADERS.forwardedFor);
  return {
    traceparent: attempt.traceparent,
    tracestate: attempt.tracestate,
    b3: attempt.b3,
    requestId: scope.requestId,
    attempt: head.incomingAttempt + number - 1,
    forwardedFor: before === undefined ? source : source === undefined ? before : `${before}, ${source}`,
    forwardedProto: head.fields.get(HEADERS.forwardedProto) ?? 'http',
    clientCert: undefined,
  };
}
