import type { EngineLimits } from '../codec/limits.ts';
import type { Forwarding } from '../http/exchange-stages.ts';
import type { PoolTarget } from '../pool/pool.ts';
import type { AttemptHandle } from '../stage.ts';

/** An attempt that no limit and no breaker watches. */
export const UNWATCHED: AttemptHandle = {
  settle: () => undefined,
  finish: () => undefined,
};

/** Straight to one address: the own app, or a place outside the mesh. No retries, so no body is kept. */
export function plainForwarding(host: string, port: number, limits: EngineLimits): Forwarding {
  return {
    kind: 'forward',
    decision: undefined,
    endpoint: undefined,
    host,
    port,
    timeouts: { requestMs: 0, backendRequestMs: 0, idleMs: limits.tunnelIdleMs, connectMs: limits.connectMs },
    bodyBufferBytesMax: 0,
    delayMs: 0,
  };
}

/** The plain connection to such an address; `from` is the source address it must have, where that matters. */
export function plainTarget(forwarding: Forwarding, limits: EngineLimits, from?: string): PoolTarget {
  const group = `plain|${forwarding.host}|${forwarding.port}`;
  return {
    group,
    // Connections are shared by requests of one client only: the app sees whose they are.
    key: from === undefined ? group : `${group}|${from}`,
    host: forwarding.host,
    port: forwarding.port,
    ...(from === undefined ? {} : { localAddress: from }),
    tls: undefined,
    connectMs: limits.connectMs,
    connectionsMax: limits.plainConnectionsMax,
    pendingMax: limits.plainPendingMax,
    idleMs: limits.keepAliveIdleMs,
  };
}
