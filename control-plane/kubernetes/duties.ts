import type { Clock, Timer } from '../../common/clock.ts';
import { TRUST_BUNDLE_CONFIG_MAP } from '../../common/contracts.ts';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Random } from '../../common/random.ts';
import type { ObjectStatus } from '../../model/mesh.ts';
import type { KubeObject, Problem } from '../../model/objects.ts';
import type { KubernetesClient } from '../../sources/kubernetes/client.ts';
import { KINDS } from '../../sources/kubernetes/kinds.ts';
import {
  type ClusterSource,
  type WatchClusterOptions,
  type WatchedKind,
  watchCluster,
} from '../../sources/kubernetes/watch.ts';
import type { ChangeableAuthority } from '../ca/authority.ts';
import type { Pipeline } from '../pipeline.ts';
import type { ProgrammedTeller, Programming } from '../status/programmed.ts';
import { bundleFingerprint, meshWide, tallies } from '../status/replicas.ts';
import { Events } from './events.ts';
import { type LeaderElection, startLeaderElection } from './lease.ts';
import { Reconciler, type Work } from './reconciler.ts';
import { Replicas } from './replicas.ts';
import type { RootFollower } from './root-follower.ts';
import { RotationDuty } from './rotation-duty.ts';
import { StatusPlanner } from './status-writer.ts';
import { type BundlePlan, planTrustBundles } from './trust-bundles.ts';
import { planWebhookBundles, WEBHOOK_SELECTOR } from './webhook-bundle.ts';

const CONTROL_PLANE_LEASE = 'heddle-control-plane';
/** Events that the rate held back, and rotations, go on by themselves. */
const ROUND_MS = 2_000;
/** How many pods a report names that hold up a rotation. */
const PODS_REPORTED_MAX = 5;

export interface DutiesOptions {
  readonly client: KubernetesClient;
  readonly namespace: string;
  /** The pod's name. */
  readonly identity: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly pipeline: Pipeline;
  readonly authority: ChangeableAuthority;
  readonly root: RootFollower;
}

/**
 * What the control plane writes: statuses, trust bundles, caBundles, events, a rotation's steps. All replicas plan, the one
 * that holds the lease writes; each tells the others what its own proxies hold.
 */
export class ClusterDuties {
  readonly #options: DutiesOptions;
  readonly #configMaps: FollowedKind;
  readonly #configurations: FollowedKind;
  readonly #election: LeaderElection;
  readonly #replicas: Replicas;
  readonly #reconciler: Reconciler;
  readonly #events: Events;
  readonly #rotation: RotationDuty;
  readonly #statuses: StatusPlanner;
  readonly #timer: Timer;
  readonly #stops: (() => void)[] = [];
  #bundleWaiting: readonly string[] = [];

  constructor(options: DutiesOptions) {
    this.#options = options;
    const { client: api, namespace, identity, clock, random, log, pipeline, authority, root } = options;
    const leads = () => this.#election.leads();
    this.#reconciler = new Reconciler({ plan: () => this.#plan(), leads, clock, random, log });
    this.#statuses = new StatusPlanner(api, clock);
    this.#events = new Events({ api, clock, log, identity });
    this.#rotation = new RotationDuty({ api, clock, log, root });
    const followed = (watched: WatchedKind) =>
      followKind(watched, { client: api, clock, log, onChange: () => this.#reconciler.soon() });
    const fieldSelector = `metadata.name=${TRUST_BUNDLE_CONFIG_MAP}`;
    this.#configMaps = followed({ kind: KINDS.configMap, fieldSelector });
    this.#configurations = followed({ kind: KINDS.mutatingWebhook, labelSelector: WEBHOOK_SELECTOR });
    this.#replicas = new Replicas({
      ...{ api, namespace, identity, clock, log, leads },
      onChange: () => pipeline.proxiesChanged(),
    });
    this.#election = startLeaderElection({
      ...{ api, namespace, identity, clock, random, log, name: CONTROL_PLANE_LEASE },
      onChange: () => this.#leadershipChanged(),
    });
    this.#stops.push(
      pipeline.onChange(() => this.#meshChanged()),
      authority.onChange(() => this.#reconciler.soon()),
    );
    this.#timer = clock.every(ROUND_MS, () => void this.#round());
    pipeline.proxiesChanged();
  }

  leads(): boolean {
    return this.#election.leads();
  }

  /** `Programmed` as far as this replica knows; and what it knows of its own proxies is told to the others. */
  programmed(own: Programming, statuses: readonly ObjectStatus[]): ProgrammedTeller {
    this.#bundleWaiting = own.bundleWaiting();
    this.#replicas.publish({
      bundle: bundleFingerprint(this.#options.authority.trustBundlePem()),
      bundleWaiting: this.#bundleWaiting.length,
      bundleWaitingPods: this.#bundleWaiting.slice(0, PODS_REPORTED_MAX),
      objects: tallies(statuses, own),
    });
    const peers = this.leads() ? this.#replicas.peers() : undefined;
    return peers === undefined ? own : meshWide(own, peers);
  }

  problems(): readonly Problem[] {
    return [
      ...this.#configMaps.source.current().problems,
      ...this.#configurations.source.current().problems,
      ...this.#bundles().problems,
      ...this.#reconciler.problems(),
      ...this.#rotation.problems(),
    ];
  }

  /** Gives up the lease, and takes back what this replica told of its proxies. */
  async close(): Promise<void> {
    this.#timer.cancel();
    for (const stop of this.#stops) stop();
    this.#reconciler.close();
    this.#configMaps.source.close();
    this.#configurations.source.close();
    await Promise.all([this.#election.close(), this.#replicas.close()]);
  }

  #leadershipChanged(): void {
    this.#replicas.forget();
    // Statuses are written once it is known what the other replicas' proxies hold.
    void this.#replicas.look().then(() => this.#options.pipeline.proxiesChanged());
    this.#reconciler.soon();
  }

  #meshChanged(): void {
    this.#reconciler.soon();
    void this.#tellEvents();
  }

  async #round(): Promise<void> {
    if (!this.leads()) return;
    try {
      await this.#tellEvents();
      await this.#rotate();
    } catch (thrown) {
      this.#options.log.warn('a duty of the control plane failed', { error: messageOf(thrown) });
    }
  }

  #tellEvents(): Promise<void> {
    const { pipeline } = this.#options;
    if (!this.leads()) return Promise.resolve();
    const statusOf = (object: KubeObject) => pipeline.findStatus(object);
    const facts = { objects: pipeline.objects(), statusOf, problems: pipeline.problems() };
    return this.#events.round(facts, () => this.leads());
  }

  async #rotate(): Promise<void> {
    const { authority, pipeline } = this.#options;
    const peers = this.#replicas.peers();
    if (peers === undefined || !this.#configMaps.listed() || !this.#configurations.listed()) return;
    await this.#rotation.round({
      ...{ peers, bundlePem: authority.trustBundlePem(), bundleWaiting: this.#bundleWaiting },
      objectsBehind: [...this.#bundles().behind, ...this.#webhooks().map(({ key }) => key)],
      leafTtlMs: pipeline.settings().leafTtlMs,
    });
  }

  #plan(): readonly Work[] {
    const { pipeline } = this.#options;
    const statusOf = (object: KubeObject) => pipeline.findStatus(object);
    // New pods wait for their bundle: that comes first.
    const works = [...this.#bundles().works, ...this.#webhooks()];
    if (this.#replicas.peers() === undefined) return works;
    return [...works, ...this.#statuses.plan({ objects: pipeline.objects(), statusOf })];
  }

  #bundles(): BundlePlan {
    const { client, namespace, pipeline, authority } = this.#options;
    if (!this.#configMaps.listed()) return { works: [], behind: [], problems: [] };
    const objects = pipeline.objects().map(({ object }) => object);
    return planTrustBundles(
      {
        ...{ systemNamespace: namespace, bundlePem: authority.trustBundlePem() },
        namespaces: objects.filter(({ apiVersion, kind }) => apiVersion === 'v1' && kind === 'Namespace'),
        workloads: pipeline.mesh().workloads.values(),
        configMaps: objectsOf(this.#configMaps),
      },
      client,
    );
  }

  #webhooks(): readonly Work[] {
    const { client, authority } = this.#options;
    return planWebhookBundles(objectsOf(this.#configurations), authority.trustBundlePem(), client);
  }
}

interface FollowedKind {
  readonly source: ClusterSource;
  /** Before that, what isn't there can't be told from what isn't known. */
  listed(): boolean;
}

/** Each by itself: a kind that can't be read holds up no other. */
function followKind(
  watched: WatchedKind,
  options: Omit<WatchClusterOptions, 'kinds'> & { onChange(): void },
): FollowedKind {
  const source = watchCluster({ ...options, kinds: [watched] });
  let listed = false;
  const synced = () => {
    listed = true;
    options.onChange();
  };
  // Rejects where it is closed before.
  source.synced.then(synced, () => undefined);
  return { source, listed: () => listed };
}

function objectsOf({ source }: FollowedKind): readonly KubeObject[] {
  return source.current().objects.map(({ object }) => object);
}
