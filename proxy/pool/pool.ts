import type { MeshFailure } from '../../common/errors.ts';
import type { EngineLimits } from '../codec/limits.ts';
import type { Deadlines } from '../http/deadlines.ts';
import { ClientConnection, type ConnectionOwner } from '../upstream/client-connection.ts';
import type { Connected, Connector, ConnectTarget, FailedAttempt } from '../upstream/connect.ts';
import { Lease, type LeaseResult, type Reuse } from './lease.ts';

/** Connections to one endpoint with one set of credentials are interchangeable; `group` is what limits are counted by. */
export interface PoolTarget extends ConnectTarget {
  /** The cluster, or one name per destination outside the mesh. */
  readonly group: string;
  /** Endpoint and version of the credentials. */
  readonly key: string;
  readonly connectionsMax: number;
  readonly pendingMax: number;
  readonly idleMs: number;
}

const LEARNED_IDLE_MS_MIN = 1_000;
const LEARNED_PEERS_MAX = 4_096;

interface Group {
  /** Open and opening connections, idle ones included. */
  open: number;
  readonly waiting: Lease[];
  readonly idle: Map<string, ClientConnection[]>;
}

/**
 * Upstream connections. An idle one is used again, the last used first; unsafe requests get one that was in use a moment
 * ago or a fresh one. `connectionsMax` of a group holds over all its endpoints; beyond it requests wait, `pendingMax` of
 * them.
 */
export class Pool {
  readonly #connector: Connector;
  readonly #limits: EngineLimits;
  readonly #deadlines: Deadlines;
  readonly #groups = new Map<string, Group>();
  /** How long each peer keeps an idle connection, as seen or as it said. */
  readonly #peerIdleMs = new Map<string, number>();
  /** Gives up each connection that is being made for a request. */
  readonly #connecting = new Set<() => void>();
  #open = 0;

  constructor(connector: Connector, limits: EngineLimits, deadlines: Deadlines) {
    this.#connector = connector;
    this.#limits = limits;
    this.#deadlines = deadlines;
  }

  /** Open connections, idle ones included, and how many of them are idle. */
  stats(): { readonly open: number; readonly idle: number; readonly pending: number } {
    let idle = 0;
    let pending = 0;
    for (const group of this.#groups.values()) {
      for (const list of group.idle.values()) idle += list.length;
      pending += group.waiting.length;
    }
    return { open: this.#open, idle, pending };
  }

  /**
   * Finds a connection for one request. `done` may be called before this returns. `recent` asks for one that no peer can
   * be closing just now.
   */
  lease(target: PoolTarget, reuse: Reuse, done: (result: LeaseResult) => void): Lease {
    const lease = new Lease(target, reuse, done);
    this.#serve(this.#group(target.group), lease, true);
    return lease;
  }

  /** Closes idle connections that `keep` doesn't want: of old credentials, or of endpoints that are gone. */
  closeIdle(keep: (key: string) => boolean): void {
    for (const group of this.#groups.values()) {
      for (const [key, list] of group.idle) {
        if (keep(key)) continue;
        for (const connection of list) connection.stream.destroy();
      }
    }
  }

  /** Ends every wait and closes every connection that is idle or being made; busy ones end with their requests' clients. */
  close(): void {
    this.closeIdle(() => false);
    for (const giveUp of [...this.#connecting]) giveUp();
    for (const group of this.#groups.values()) {
      for (const lease of group.waiting.splice(0)) lease.cancel();
    }
  }

  /** A tunnel's connection counts against its group as well: the count is given back by the returned function. */
  openTunnel(
    target: PoolTarget,
    done: (result: Connected | FailedAttempt) => void,
  ): { cancel(): void; readonly release: () => void } {
    const group = this.#group(target.group);
    if (!this.#hasRoom(group, target.connectionsMax)) {
      done(limited('limit-connections', `${target.connectionsMax} connections are open to ${target.group}`));
      return { cancel: () => undefined, release: () => undefined };
    }
    const release = this.#count(target.group, group);
    const connecting = this.#connector.open(target, (result) => {
      if ('failure' in result) release();
      done(result);
    });
    return {
      release,
      cancel: () => {
        connecting.cancel();
        release();
      },
    };
  }

  #group(name: string): Group {
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { open: 0, waiting: [], idle: new Map() };
      this.#groups.set(name, group);
    }
    return group;
  }

  #count(name: string, group: Group): () => void {
    // Its last connection may just have made room for this one.
    if (!this.#groups.has(name)) this.#groups.set(name, group);
    group.open++;
    this.#open++;
    let counted = true;
    return () => {
      if (!counted) return;
      counted = false;
      group.open--;
      this.#open--;
      this.#serveNext(group);
      if (group.open === 0 && group.waiting.length === 0 && this.#groups.get(name) === group) {
        this.#groups.delete(name);
      }
    };
  }

  #serve(group: Group, lease: Lease, mayWait: boolean): void {
    const { target } = lease;
    const reused = this.#takeIdle(group, lease);
    if (reused !== undefined) {
      lease.done(reused);
      return;
    }
    if (this.#hasRoom(group, target.connectionsMax)) {
      this.#connect(group, lease);
      return;
    }
    if (mayWait && group.waiting.length >= target.pendingMax) {
      lease.done(limited('limit-pending', `${target.pendingMax} requests wait for a connection already`));
      return;
    }
    if (mayWait) group.waiting.push(lease);
    else group.waiting.unshift(lease);
    lease.whenCancelled(() => {
      const at = group.waiting.indexOf(lease);
      if (at >= 0) group.waiting.splice(at, 1);
    });
  }

  #takeIdle(group: Group, lease: Lease): ClientConnection | undefined {
    const list = lease.reuse === 'none' ? undefined : group.idle.get(lease.target.key);
    if (list === undefined) return undefined;
    const now = this.#deadlines.now();
    for (let connection = list.at(-1); connection !== undefined; connection = list.at(-1)) {
      const tooOld = lease.reuse === 'recent' && now - connection.idleSinceMs >= this.#limits.unsafeReuseMs;
      // Those behind it are older still; they are left to requests that may be sent again.
      if (tooOld && connection.usable) return undefined;
      list.pop();
      connection.idleDeadline.park();
      if (connection.usable) return connection;
      connection.stream.destroy();
    }
    return undefined;
  }

  /** Makes a connection for a request. Should the request be given up meanwhile, it is for another one. */
  #connect(group: Group, lease: Lease): void {
    const { target } = lease;
    const release = this.#count(target.group, group);
    const connecting = this.#connector.open(target, (result) => {
      this.#connecting.delete(giveUp);
      if ('failure' in result) {
        release();
        if (!lease.cancelled) lease.done(result);
        return;
      }
      const owner = this.#owner(group, target, release);
      const connection = new ClientConnection(
        result.stream,
        result.peer,
        owner,
        this.#limits,
        this.#deadlines,
      );
      if (lease.cancelled) this.#keepIdle(group, target, connection);
      else lease.done(connection);
    });
    const giveUp = () => {
      this.#connecting.delete(giveUp);
      connecting.cancel();
      release();
    };
    this.#connecting.add(giveUp);
  }

  #owner(group: Group, target: PoolTarget, release: () => void): ConnectionOwner {
    return {
      onIdle: (connection) => this.#keepIdle(group, target, connection),
      onGone: (connection) => {
        const list = group.idle.get(target.key);
        const at = list?.indexOf(connection) ?? -1;
        if (list !== undefined && at >= 0) {
          list.splice(at, 1);
          if (list.length === 0) group.idle.delete(target.key);
          if (connection.closedByPeer)
            this.#learn(target.key, this.#deadlines.now() - connection.idleSinceMs);
        }
        release();
      },
    };
  }

  #keepIdle(group: Group, target: PoolTarget, connection: ClientConnection): void {
    const now = this.#deadlines.now();
    if (now - connection.bornMs > this.#limits.connectionLifetimeMs) {
      connection.stream.destroy();
      return;
    }
    let list = group.idle.get(target.key);
    if (list === undefined) {
      list = [];
      group.idle.set(target.key, list);
    }
    if (list.length >= this.#limits.idleConnectionsMax) {
      connection.stream.destroy();
      return;
    }
    connection.idleSinceMs = now;
    list.push(connection);
    if (connection.idleHintMs !== undefined) this.#learn(target.key, connection.idleHintMs);
    this.#deadlines.arm(connection.idleDeadline, this.#idleMsFor(target, connection));
    this.#serveNext(group);
  }

  /** A little less than the peer keeps it, so that we close first and no request crosses its FIN. */
  #idleMsFor(target: PoolTarget, connection: ClientConnection): number {
    const learned = this.#peerIdleMs.get(target.key);
    if (learned !== undefined) return Math.min(target.idleMs, learned * 0.8);
    // Another sidecar keeps connections as long as its limits say, which are ours.
    const known = connection.verifiedPeer !== undefined;
    const peerMs = known ? this.#limits.keepAliveIdleMs * 0.8 : this.#limits.idleUnknownPeerMs;
    return Math.min(target.idleMs, peerMs);
  }

  #learn(key: string, idleMs: number): void {
    const known = this.#peerIdleMs.get(key);
    // A restarting peer closes everything at once, which says nothing about its habit.
    if (idleMs < LEARNED_IDLE_MS_MIN || (known !== undefined && known <= idleMs)) return;
    if (this.#peerIdleMs.size >= LEARNED_PEERS_MAX) this.#peerIdleMs.clear();
    this.#peerIdleMs.set(key, idleMs);
  }

  /** Whether one more connection may be opened, an idle one being closed for it where need be. */
  #hasRoom(group: Group, connectionsMax: number): boolean {
    if (group.open < connectionsMax) return true;
    for (const list of group.idle.values()) {
      const oldest = list[0];
      if (oldest === undefined) continue;
      oldest.close();
      // A request that was waiting longer may have taken the place.
      return group.open < connectionsMax;
    }
    return false;
  }

  #serveNext(group: Group): void {
    const lease = group.waiting.shift();
    if (lease === undefined) return;
    lease.whenCancelled(undefined);
    if (!lease.cancelled) this.#serve(group, lease, false);
  }
}

function limited(code: 'limit-connections' | 'limit-pending', message: string): FailedAttempt {
  const failure: MeshFailure = { code, source: 'mesh', retrySafety: 'always', message };
  return { failure, condition: 'other', refused: false };
}
