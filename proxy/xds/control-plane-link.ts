import { caClient } from '../../common/ca/client.ts';
import { keepIdentity } from '../../common/ca/workload-identity.ts';
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import { spiffeId } from '../../common/spiffe.ts';
import { formatNodeId } from '../../common/wire/node-id.ts';
import type { InboundConfig, Snapshot } from '../../model/snapshot.ts';
import type { ConfigStage, IdentityStage } from '../stage.ts';
import { type AdsStatus, AdsStream } from './ads-stream.ts';
import { ConfigStore } from './config-store.ts';
import { type ConfigLimits, DEFAULT_CONFIG_LIMITS } from './limits.ts';
import type { SnapshotContents } from './snapshots.ts';

/** The part of the sidecar's bootstrap that the control plane's side needs. */
export interface LinkBootstrap {
  /** host:port. */
  readonly controlPlane: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podIp: string;
  readonly serviceAccount: string;
  readonly trustDomain: string;
  readonly tokenFile: string;
  readonly rootFile: string;
}

export interface LinkDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly limits?: Partial<ConfigLimits>;
}

export interface LinkStatus extends AdsStatus {
  /** Destinations subscribed to. */
  readonly subscriptions: number;
  readonly certificateExpiresAtMs: number | undefined;
  readonly certificateRenewalAtMs: number | undefined;
}

export interface ControlPlaneLink {
  readonly config: ConfigStage;
  readonly identity: IdentityStage;
  /** Settles once there is a certificate and the pod's own configuration; never rejects, since it never gives up. */
  readonly ready: Promise<void>;
  status(): LinkStatus;
  /** The snapshot in force, as lists. */
  contents(): SnapshotContents;
  /** Called with each new configuration of the pod's own side; at once where there is one already. */
  onInbound(listener: (inbound: InboundConfig) => void): () => void;
  /** Called with each snapshot that comes into force. */
  onSnapshot(listener: (snapshot: Snapshot) => void): () => void;
  close(): void;
}

/** Connects a sidecar: gets its certificate, then keeps its configuration, for as long as it lives. Never throws. */
export function connectControlPlane(bootstrap: LinkBootstrap, deps: LinkDeps): ControlPlaneLink {
  const { clock, random, log } = deps;
  const limits = { ...DEFAULT_CONFIG_LIMITS, ...deps.limits };
  const { controlPlane, trustDomain, tokenFile, rootFile } = bootstrap;
  const inboundListeners = new Set<(inbound: InboundConfig) => void>();
  const snapshotListeners = new Set<(snapshot: Snapshot) => void>();
  let becomeReady = () => {};
  const ready = new Promise<void>((resolve) => {
    becomeReady = resolve;
  });

  const identity = keepIdentity({
    uri: spiffeId({
      trustDomain,
      namespace: bootstrap.podNamespace,
      serviceAccount: bootstrap.serviceAccount,
    }),
    requestCertificate: caClient({
      controlPlane,
      trustDomain,
      tokenFile,
      rootFile,
      wallMs: () => clock.wallMs(),
    }),
    clock,
    random,
    log,
  });
  const store: ConfigStore = new ConfigStore({
    namespace: bootstrap.podNamespace,
    limits,
    clock,
    onWishes: () => ads.sendWishes(),
    onSnapshot: (snapshot) => {
      for (const listener of [...snapshotListeners]) listener(snapshot);
    },
    onInbound: (inbound) => {
      becomeReady();
      for (const listener of [...inboundListeners]) listener(inbound);
    },
    onTrustBundle: (pem) => identity.trust(pem),
  });
  const ads = new AdsStream({
    controlPlane,
    nodeId: formatNodeId({
      podIp: bootstrap.podIp,
      pod: bootstrap.podName,
      namespace: bootstrap.podNamespace,
    }),
    trustDomain,
    credentials: () => identity.current(),
    store,
    limits,
    clock,
    random,
    log,
  });
  // The first certificate opens the stream, and each later one opens it anew: the control plane knows us by it.
  let leaf: string | undefined;
  identity.onChange((credentials) => {
    if (credentials.certificateChainPem === leaf) return;
    leaf = credentials.certificateChainPem;
    ads.connect();
  });
  const sweep = clock.every(limits.idleSweepMs, () => {
    if (ads.connected()) store.dropIdle();
  });

  return {
    config: store,
    identity,
    ready,
    status: () => ({
      ...ads.status(),
      subscriptions: store.subscriptionCount(),
      certificateExpiresAtMs: identity.current()?.expiresAtMs,
      certificateRenewalAtMs: identity.renewalAtMs(),
    }),
    contents: () => store.contents(),
    onInbound(listener) {
      inboundListeners.add(listener);
      const inbound = store.inbound();
      if (inbound !== undefined) listener(inbound);
      return () => inboundListeners.delete(listener);
    },
    onSnapshot(listener) {
      snapshotListeners.add(listener);
      return () => snapshotListeners.delete(listener);
    },
    close() {
      sweep.cancel();
      ads.close();
      store.close();
      identity.close();
    },
  };
}
